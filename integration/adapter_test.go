package integration

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/ollama/ollama/llama"
	"github.com/ollama/ollama/ml"

	"pare/convert"
	"pare/gguf"
	"pare/integration/tinymodel"
)

// A model with an adapter beside it computes what it computes with what is read of the
// adapter merged, and not what it computed before.
func TestAdapterIsTheMergedModel(t *testing.T) {
	llama.BackendInit()
	data, err := tinymodel.New(tinymodel.Config{Architecture: "llama", Float32: true})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	base, adapter, merged := filepath.Join(folder, "base"), filepath.Join(folder, "adapter"), filepath.Join(folder, "merged")
	if err := os.WriteFile(base, data, 0o666); err != nil {
		t.Fatal(err)
	}
	f := openGGUF(t, base)
	changes := randomChanges(t, f, "blk.1.attn_q.weight", "blk.2.attn_v.weight", "blk.2.ffn_down.weight", "blk.7.ffn_up.weight")
	changes[1].Scale = 3 // not that of the others
	if _, err := convert.WriteAdapter(t.Context(), f, adapter, changes); err != nil {
		t.Fatal(err)
	}
	if _, err := convert.Merge(t.Context(), f, merged, readChanges(t, adapter, f), convert.MergeConfig{}, nil); err != nil {
		t.Fatal(err)
	}
	beside, alone, inside := lastLogits(t, base, adapter), lastLogits(t, base, ""), lastLogits(t, merged, "")
	if d := logitsApart(beside, inside); d > 1e-3 {
		t.Errorf("logits beside and merged differ by %g", d)
	}
	if d := logitsApart(beside, alone); d < 0.1 {
		t.Errorf("the adapter moves logits by %g only", d)
	}
}

func readChanges(t *testing.T, adapter string, base *gguf.File) []convert.Change {
	t.Helper()
	f := openGGUF(t, adapter)
	changes, _, err := convert.ReadAdapter(f, base)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// writeAdapter writes one for a GGUF, beside it, and returns its path.
func writeAdapter(t *testing.T, base string) string {
	t.Helper()
	f := openGGUF(t, base)
	path := base + ".adapter"
	if _, err := convert.WriteAdapter(t.Context(), f, path, randomChanges(t, f, "blk.1.attn_q.weight", "blk.7.ffn_down.weight")); err != nil {
		t.Fatal(err)
	}
	return path
}

// randomChanges are changes of rank 2, 3, … to those tensors.
func randomChanges(t *testing.T, f *gguf.File, names ...string) []convert.Change {
	t.Helper()
	r := rand.New(rand.NewPCG(4, 4))
	var changes []convert.Change
	for i, name := range names {
		tensor, ok := f.Tensor(name)
		if !ok {
			t.Fatalf("no tensor %s", name)
		}
		c := convert.Change{Name: name, In: int(tensor.Shape[0]), Out: int(tensor.Shape[1]), Rank: 2 + i, Scale: 0.5}
		for range c.Rank * c.In {
			c.A = append(c.A, float32(0.3*r.NormFloat64()))
		}
		for range c.Out * c.Rank {
			c.B = append(c.B, float32(0.3*r.NormFloat64()))
		}
		changes = append(changes, c)
	}
	return changes
}

// lastLogits are what llama.cpp expects after a few tokens.
func lastLogits(t *testing.T, model, adapter string) []float32 {
	t.Helper()
	m, err := llama.LoadModelFromFile(model, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer llama.FreeModel(m)
	c, err := llama.NewContextWithModel(m, llama.NewContextParams(64, 64, 1, 1, ml.FlashAttentionDisabled, ""))
	if err != nil {
		t.Fatal(err)
	}
	if adapter != "" {
		if err := m.ApplyLoraFromFile(c, adapter, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	tokens := []int{5, 9, 2, 14, 3, 8}
	batch, err := llama.NewBatch(len(tokens), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer batch.Free()
	for i, token := range tokens {
		batch.Add(token, nil, i, i == len(tokens)-1, 0)
	}
	if err := c.Decode(batch); err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), c.GetLogitsIth(len(tokens)-1)...)
}

func logitsApart(a, b []float32) (d float64) {
	for i := range a {
		d = max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}
