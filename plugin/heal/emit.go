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

// wider is a type for a matrix that is changed altogether, such as one that a linear
// map was folded into: what rounding it to few bits anew would cost is worth far
// more than the bytes of one matrix.
func wider(src *gguf.File, changes []convert.Change) map[string]gguf.TensorType {
	out := map[string]gguf.TensorType{}
	for _, c := range changes {
		t, ok := src.Tensor(c.Name)
		if ok && len(t.Shape) > 1 && t.Shape[0]%32 == 0 && narrow(t) {
			out[c.Name] = gguf.Q8_0
		}
	}
	return out
}

// narrow reports whether a tensor is stored in fewer bits than Q8_0 takes.
func narrow(t gguf.Tensor) bool {
	numbers := uint64(1)
	for _, d := range t.Shape {
		numbers *= d
	}
	return t.Size*8 < numbers*17/2
}
