package heal

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
)

// widen stores matrices in a type that can be changed, if their own has code books that
// ggml alone holds: those that the repair reads or changes.
func (p Patient) widen(ctx context.Context, h plugin.Host, event func(plugin.Event), result *Result) error {
	src, err := gguf.Open(result.Last().Path)
	if err != nil {
		return fmt.Errorf("read the cut model: %w", err)
	}
	defer src.Close()
	wanted, err := p.reads()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(convert.Opaque(src), func(t gguf.Tensor) bool { return wanted(t.Name) }) {
		return nil
	}
	path := filepath.Join(p.Folder, "widened.gguf")
	floats := func(t gguf.TensorType, rows []byte) ([]float32, error) { return h.Floats(ctx, uint32(t), rows) }
	r, err := convert.Widen(ctx, src, path, wanted, floats, func(done, total int64) {
		event(plugin.Event{Stage: "quantize", Status: "storing the model in types that can be changed", Completed: done, Total: total})
	})
	if err != nil {
		return err
	}
	result.Stages = append(result.Stages, Stage{StageWiden, path, r.Digest})
	result.note("%d matrices of types that cannot be changed are stored in Q4_K: the file has %.0f MB instead of %.0f",
		len(r.Changed), float64(r.BytesAfter)/1e6, float64(r.BytesBefore)/1e6)
	return nil
}

// reads reports which tensors of the cut model the repair reads or changes.
func (p Patient) reads() (func(name string) bool, error) {
	var folded []int // layers that take a closed form up
	if linear(p.Settings.Method) {
		for _, run := range runs(p.Remove) {
			folded = append(folded, renumber(run[0], p.Remove)-1)
		}
	}
	lowest := p.Layers
	if trains(p.Settings.Method) {
		var err error
		if _, lowest, err = p.span(); err != nil {
			return nil, err
		}
	}
	return func(name string) bool {
		var layer int
		if _, err := fmt.Sscanf(name, "blk.%d.", &layer); err != nil {
			return trains(p.Settings.Method) // embedding and head
		}
		return layer >= lowest || slices.Contains(folded, layer)
	}, nil
}
