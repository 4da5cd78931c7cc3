package repair

import (
	"io"
	"math"
	"path/filepath"
	"testing"

	"pare/convert"
	"pare/convert/quant"
	"pare/gguf"
)

// packed is a tiny llama whose matrices are stored in a type.
func packed(t *testing.T, kind gguf.TensorType) (*Network, *gguf.File) {
	t.Helper()
	n, f := llama(t, 4, 0)
	var changes []convert.Change
	types := map[string]gguf.TensorType{}
	for l := range n.Layers {
		for _, m := range n.Matrices(l) {
			tensor, _ := f.Tensor(tensor(l, m.Name) + ".weight")
			data, err := io.ReadAll(f.Data(tensor))
			if err != nil {
				t.Fatal(err)
			}
			w, err := quant.Floats(tensor.Type, data)
			if err != nil {
				t.Fatal(err)
			}
			changes = append(changes, convert.Change{Name: tensor.Name, Out: m.Out, In: m.In, Dense: w})
			types[tensor.Name] = kind
		}
	}
	return n, merged(t, f, changes, convert.MergeConfig{Promote: types})
}

func merged(t *testing.T, f *gguf.File, changes []convert.Change, cfg convert.MergeConfig) *gguf.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "merged.gguf")
	if _, err := convert.Merge(t.Context(), f, path, changes, cfg, nil); err != nil {
		t.Fatal(err)
	}
	out, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return out
}

// What scales and minima learn is in the file after them, whatever the type.
func TestScalesAreKept(t *testing.T) {
	_, _, all := tiny(t, 8, false)
	for _, kind := range []gguf.TensorType{gguf.Q4_0, gguf.Q4_1, gguf.Q8_0} {
		t.Run(kind.String(), func(t *testing.T) {
			n, f := packed(t, kind)
			c := quick()
			c.Scales, c.Rank = true, 0
			r, err := train(t, n, f, c, all, all[:3], t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if !(r.After < 0.97*r.Before) {
				t.Errorf("held-out loss %g after training, %g before", r.After, r.Before)
			}
			loss, err := HeldLoss(t.Context(), backend(t), n, merged(t, f, r.Changes, convert.MergeConfig{}), c, all[:3])
			if err != nil {
				t.Fatal(err)
			}
			if kept := (r.Before - loss) / (r.Before - r.After); math.Abs(kept-1) > 0.01 {
				t.Errorf("the file has %.3f of the gain", kept)
			}
		})
	}
}

// The gradient of scales and minima is the slope of the loss.
func TestScalesGradient(t *testing.T) {
	_, _, all := tiny(t, 2, false)
	n, f := packed(t, gguf.Q4_1)
	c := quick()
	c.Batch, c.Scales, c.Rank = 2, true, 0
	tr, err := newTraining(backend(t), n, f, c, all, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	if len(tr.parameters) != 2*7*4 {
		t.Fatalf("%d parameters", len(tr.parameters))
	}
	holdGradient(t, tr, all)
}
