package heal

import (
	"context"
	"errors"
	"path/filepath"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
)

// quantize stores the cut model in the types that were asked for, before anything is
// repaired: what follows heals what that costs, too.
func (p Patient) quantize(ctx context.Context, event func(plugin.Event), result *Result) error {
	src, err := gguf.Open(p.Cut)
	if err != nil {
		return err
	}
	defer src.Close()
	path := filepath.Join(p.Folder, "quantized.gguf")
	r, err := convert.Quantize(ctx, src, path, p.Settings.Quantize, func(done, total int64) {
		event(plugin.Event{Stage: "quantize", Status: "storing the model as " + p.Settings.Quantize, Completed: done, Total: total})
	})
	if err != nil {
		return quantizeError(err)
	}
	result.Stages = append(result.Stages, Stage{StageQuantize, path, r.Digest})
	return nil
}

// quantizeError tells a user's error from others.
func quantizeError(err error) error {
	if errors.Is(err, convert.ErrNoSmaller) {
		return plugin.Errorf(plugin.Refused, "%w", err)
	}
	return err
}
