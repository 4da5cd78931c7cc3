package convert

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pare/convert/quant"
	"pare/gguf"
	"pare/gguf/gguftest"
)

// What only ggml can read is stored anew where it is wanted, from what ggml reads in it.
func TestWiden(t *testing.T) {
	b := matrices()
	b.Tensors = append(b.Tensors,
		gguftest.Tensor{Name: "blk.1.attn_k.weight", Shape: []uint64{256, 5000}, Type: uint32(gguf.IQ2_S), Bytes: make([]byte, 82*5000)})
	src := read(t, b.Bytes())
	var names []string
	for _, o := range Opaque(src) {
		names = append(names, o.Name)
	}
	if want := []string{"blk.1.attn_q.weight", "blk.1.attn_k.weight"}; !slices.Equal(names, want) {
		t.Fatalf("opaque are %q, want %q", names, want)
	}
	rows := 0
	floats := func(typ gguf.TensorType, data []byte) ([]float32, error) {
		if typ != gguf.IQ2_S || len(data) == 0 || len(data)%82 != 0 || len(data) > 1<<20 {
			t.Errorf("asked for %d bytes of %v", len(data), typ)
		}
		w := make([]float32, len(data)/82*256)
		for i := range w {
			w[i] = float32((rows + i/256) % 16)
		}
		rows += len(data) / 82
		return w, nil
	}
	dst := filepath.Join(t.TempDir(), "wide.gguf")
	r, err := Widen(t.Context(), src, dst, func(name string) bool { return name == "blk.1.attn_k.weight" }, floats, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !slices.Equal(r.Changed, []string{"blk.1.attn_k.weight"}) || rows != 5000 || f.Size != r.BytesAfter {
		t.Errorf("changed %q, %d rows, %d bytes of %d", r.Changed, rows, r.BytesAfter, f.Size)
	}
	sameBesides(t, src, f, r.Changed)
	k, _ := f.Tensor("blk.1.attn_k.weight")
	w := numbersOf(t, f, k.Name)
	if k.Type != gguf.Q4_K {
		t.Errorf("it is in %v", k.Type)
	}
	for row := range 5000 {
		if got, want := float64(w[row*256+row%256]), float64(row%16); math.Abs(got-want) > 0.01 {
			t.Fatalf("row %d has %v, want %v", row, got, want)
		}
	}
	if _, err := quant.Floats(gguf.IQ2_S, make([]byte, 82)); !errors.Is(err, quant.ErrCodebook) {
		t.Errorf("what is opaque can be read: %v", err)
	}

	lost := filepath.Join(t.TempDir(), "lost.gguf")
	gone := errors.New("gone")
	fails := func(gguf.TensorType, []byte) ([]float32, error) { return nil, gone }
	if _, err := Widen(t.Context(), src, lost, func(string) bool { return true }, fails, nil); !errors.Is(err, gone) {
		t.Errorf("%v, want %v", err, gone)
	}
	if _, err := os.Stat(lost); err == nil {
		t.Error("half a file is left")
	}
}
