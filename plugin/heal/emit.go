package heal

import (
	"context"
	"fmt"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
)

// write puts changes into a copy of a model, whose metadata says what was done.
func write(ctx context.Context, from, to string, changes []convert.Change, cfg convert.MergeConfig, what string, event func(plugin.Event)) (digest string, err error) {
	src, err := gguf.Open(from)
	if err != nil {
		return "", fmt.Errorf("read the model to repair: %w", err)
	}
	defer src.Close()
	r, err := convert.Merge(ctx, src, to, changes, cfg, func(done, total int64) {
		event(plugin.Event{Stage: "merge", Status: "writing the model: " + what, Completed: done, Total: total})
	})
	if err != nil {
		return "", err
	}
	return r.Digest, nil
}

// said is what the file says of its training.
func (p Patient) said() string {
	method := p.Settings.Method
	if method == plugin.RepairLinearQLoRA {
		method = plugin.RepairQLoRA // the other is said where it was done
	}
	return fmt.Sprintf("%s, %s, %d steps", method, p.Settings.Loss, p.Settings.Steps)
}
