package convert

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pare/convert/quant"
	"pare/gguf"
	"pare/gguf/gguftest"
)

// matrices is a model with a matrix of 4 rows of 32 in each of three types, a norm,
// and a matrix whose numbers only ggml can read.
func matrices(keys ...gguftest.KV) gguftest.Builder {
	d := tiny{arch: "llama", layers: 2, keys: keys}
	b := d.builder()
	ramp := make([]byte, 0, 4*128)
	for i := range 128 {
		ramp = binary.LittleEndian.AppendUint32(ramp, math.Float32bits(float32(i)))
	}
	q4 := bytes.Repeat(append([]byte{0, 0x3c}, bytes.Repeat([]byte{0x9a}, 16)...), 4) // d = 1; 2 and 1
	b.Tensors = append(b.Tensors,
		gguftest.Tensor{Name: "blk.0.attn_q.weight", Shape: []uint64{32, 4}, Bytes: ramp},
		gguftest.Tensor{Name: "blk.0.attn_k.weight", Shape: []uint64{32, 4}, Type: uint32(gguf.Q4_0), Bytes: q4},
		gguftest.Tensor{Name: "blk.1.attn_q.weight", Shape: []uint64{256, 1}, Type: uint32(gguf.IQ2_S), Bytes: make([]byte, 82)},
	)
	return b
}

// product is a change of rank 1: the first number of each row gains 0.5·2·row.
func productChange(name string) Change {
	a := make([]float32, 32)
	a[0] = 2
	return Change{Name: name, Out: 4, In: 32, Rank: 1, Scale: 0.5, A: a, B: []float32{0, 1, 2, 3}}
}

func merge(t *testing.T, src *gguf.File, changes []Change, cfg MergeConfig) (*gguf.File, MergeResult) {
	t.Helper()
	dst := filepath.Join(t.TempDir(), "merged.gguf")
	r, err := Merge(t.Context(), src, dst, changes, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if f.Size != r.BytesAfter {
		t.Errorf("%d bytes are said to be %d", f.Size, r.BytesAfter)
	}
	return f, r
}

func numbersOf(t *testing.T, f *gguf.File, name string) []float32 {
	t.Helper()
	tensor, _ := f.Tensor(name)
	w, err := readNumbers(f, tensor)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestMergeChangesWhatItShould(t *testing.T) {
	src := read(t, matrices(key("pare.repair", "closed form")).Bytes())
	norm := Change{Name: "blk.0.attn_norm.weight", Out: 1, In: 8, Dense: []float32{1, 2, 3, 4, 5, 6, 7, 8}}
	changes := []Change{productChange("blk.0.attn_k.weight"), productChange("blk.0.attn_q.weight"), norm}
	f, r := merge(t, src, changes, MergeConfig{Repair: "QLoRA"})

	if want := []string{"blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.0.attn_k.weight"}; !slices.Equal(r.Changed, want) {
		t.Errorf("changed %q, want %q", r.Changed, want)
	}
	if len(r.Promoted) != 0 || r.BytesBefore != src.Size || len(r.Digest) != len("sha256:")+64 {
		t.Errorf("result %+v", r)
	}
	if got := numbersOf(t, f, norm.Name); !slices.Equal(got, norm.Dense) {
		t.Errorf("norm is %v", got)
	}
	for i, got := range numbersOf(t, f, "blk.0.attn_q.weight") {
		want := float32(i)
		if i%32 == 0 {
			want += float32(i / 32)
		}
		if got != want {
			t.Errorf("number %d is %v, want %v", i, got, want)
		}
	}
	k := numbersOf(t, f, "blk.0.attn_k.weight") // all on the grid: exact
	if k[0] != 2 || k[32] != 3 || k[64] != 4 || k[96] != 5 || k[1] != 2 || k[16] != 1 {
		t.Errorf("in Q4_0: %v", k)
	}
	if v, _ := text(f, "pare.repair"); v != "closed form; QLoRA" {
		t.Errorf("pare.repair is %q", v)
	}
	sameBesides(t, src, f, append(r.Changed, "pare.repair"))
}

// sameBesides compares two files, but for the keys and tensors that changed.
func sameBesides(t *testing.T, a, b *gguf.File, changed []string) {
	t.Helper()
	if len(a.KVs) != len(b.KVs) || len(a.Tensors) != len(b.Tensors) {
		t.Fatalf("%d keys and %d tensors became %d and %d", len(a.KVs), len(a.Tensors), len(b.KVs), len(b.Tensors))
	}
	for i, kv := range a.KVs {
		if !slices.Contains(changed, kv.Key) && (b.KVs[i].Key != kv.Key || !b.KVs[i].Value.Equal(kv.Value)) {
			t.Errorf("key %s changed", kv.Key)
		}
	}
	for i, ta := range a.Tensors {
		tb := b.Tensors[i]
		x, y := make([]byte, ta.Size), make([]byte, tb.Size)
		a.Data(ta).ReadAt(x, 0)
		b.Data(tb).ReadAt(y, 0)
		if ta.Name != tb.Name || !slices.Contains(changed, ta.Name) && !bytes.Equal(x, y) {
			t.Errorf("tensor %s changed", ta.Name)
		}
	}
}

func TestMergeOfNothingIsTheSameFile(t *testing.T) {
	data := matrices().Bytes()
	dst := filepath.Join(t.TempDir(), "same.gguf")
	if _, err := Merge(t.Context(), read(t, data), dst, nil, MergeConfig{}, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(dst); !bytes.Equal(got, data) {
		t.Error("another file")
	}
}

func TestMergePromotes(t *testing.T) {
	src := read(t, matrices().Bytes())
	c := productChange("blk.0.attn_k.weight")
	c.Scale = 0.125 // a quarter of a step and multiples, which F16 can say
	f, r := merge(t, src, []Change{c}, MergeConfig{Promote: map[string]gguf.TensorType{c.Name: gguf.F16}})
	if !slices.Equal(r.Promoted, []string{c.Name}) {
		t.Errorf("promoted %q", r.Promoted)
	}
	if k := numbersOf(t, f, c.Name); k[0] != 2 || k[32] != 2.25 || k[96] != 2.75 || k[33] != 2 {
		t.Errorf("numbers %v", k)
	}
	sameBesides(t, src, f, r.Changed)
}

func TestMergeTakesMoments(t *testing.T) {
	src := read(t, matrices().Bytes())
	asked := ""
	cfg := MergeConfig{Moments: func(name string) *quant.Moments {
		asked = name
		return &quant.Moments{N: 31, Mean: make([]float64, 31*31)}
	}}
	_, err := Merge(t.Context(), src, filepath.Join(t.TempDir(), "x"), []Change{productChange("blk.0.attn_k.weight")}, cfg, nil)
	if err == nil || asked != "blk.0.attn_k.weight" {
		t.Errorf("asked for %q, error %v", asked, err)
	}
}

func TestMergeRefuses(t *testing.T) {
	with := func(change func(*Change)) []Change {
		c := productChange("blk.0.attn_k.weight")
		change(&c)
		return []Change{c}
	}
	nan := float32(math.NaN())
	src := read(t, matrices().Bytes())
	for name, c := range map[string]struct {
		changes []Change
		promote map[string]gguf.TensorType
	}{
		"unknown tensor":    {changes: with(func(c *Change) { c.Name = "blk.9.attn_k.weight" })},
		"other width":       {changes: with(func(c *Change) { c.In, c.A = 16, c.A[:16] })},
		"other height":      {changes: with(func(c *Change) { c.Out, c.B = 3, c.B[:3] })},
		"no size":           {changes: with(func(c *Change) { c.Out, c.In = 0, 0 })},
		"rank 0":            {changes: with(func(c *Change) { c.Rank, c.A, c.B = 0, nil, nil })},
		"short A":           {changes: with(func(c *Change) { c.A = c.A[1:] })},
		"short B":           {changes: with(func(c *Change) { c.B = c.B[1:] })},
		"short matrix":      {changes: with(func(c *Change) { c.Dense = make([]float32, 5) })},
		"A not finite":      {changes: with(func(c *Change) { c.A[3] = nan })},
		"B not finite":      {changes: with(func(c *Change) { c.B[3] = nan })},
		"scale not finite":  {changes: with(func(c *Change) { c.Scale = nan })},
		"matrix not finite": {changes: with(func(c *Change) { c.Dense = append(make([]float32, 127), nan) })},
		"twice":             {changes: append(with(func(*Change) {}), with(func(*Change) {})...)},
		"type of blocks":    {changes: with(func(*Change) {}), promote: map[string]gguf.TensorType{"blk.0.attn_k.weight": gguf.Q4_K}},
		"type to read only": {changes: with(func(*Change) {}), promote: map[string]gguf.TensorType{"blk.0.attn_k.weight": gguf.MXFP4}},
		"product overflows": {changes: with(func(c *Change) { c.A[0], c.Scale = 3e38, 3e38 })},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			_, err := Merge(t.Context(), src, filepath.Join(folder, "x"), c.changes, MergeConfig{Promote: c.promote}, nil)
			if err == nil || !strings.Contains(err.Error(), `"`+c.changes[0].Name+`"`) {
				t.Errorf("error does not name the tensor: %v", err)
			}
			if left, _ := os.ReadDir(folder); len(left) != 0 {
				t.Errorf("%v is left behind", left)
			}
		})
	}
	promote := map[string]gguf.TensorType{"blk.0.attn_q.weight": gguf.F16}
	_, err := Merge(t.Context(), src, filepath.Join(t.TempDir(), "x"), with(func(*Change) {}), MergeConfig{Promote: promote}, nil)
	if err == nil || !strings.Contains(err.Error(), "blk.0.attn_q.weight") {
		t.Errorf("promoting what does not change: %v", err)
	}
}

func TestMergeCanBeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	folder := t.TempDir()
	_, err := Merge(ctx, read(t, matrices().Bytes()), filepath.Join(folder, "x"), []Change{productChange("blk.0.attn_k.weight")}, MergeConfig{}, nil)
	if left, _ := os.ReadDir(folder); !errors.Is(err, context.Canceled) || len(left) != 0 {
		t.Errorf("error %v, left %v", err, left)
	}
}

// A head that is the embedding is changed by giving the model another one.
func TestMergeGivesAHeadOfItsOwn(t *testing.T) {
	b := matrices()
	b.Tensors[0].Shape = []uint64{8, 1} // token_embd.weight
	src := read(t, b.Bytes())
	words, _ := src.Tensor("token_embd.weight")
	w := numbersOf(t, src, "token_embd.weight")
	for i := range w {
		w[i] += float32(i)
	}
	change := Change{Name: "output.weight", Out: int(words.Shape[1]), In: int(words.Shape[0]), Dense: w}
	f, r := merge(t, src, []Change{change}, MergeConfig{})
	if want := []string{"output.weight"}; !slices.Equal(r.Changed, want) {
		t.Errorf("changed %q, want %q", r.Changed, want)
	}
	if got := numbersOf(t, f, "output.weight"); !slices.Equal(got, w) {
		t.Errorf("the head is %v, want %v", got, w)
	}
	if before, after := numbersOf(t, src, "token_embd.weight"), numbersOf(t, f, "token_embd.weight"); !slices.Equal(before, after) {
		t.Error("the embedding has changed, too")
	}
	if len(f.Tensors) != len(src.Tensors)+1 {
		t.Errorf("%d tensors became %d", len(src.Tensors), len(f.Tensors))
	}
	product := change
	product.Dense, product.Rank, product.Scale, product.A, product.B = nil, 1, 1, make([]float32, change.In), make([]float32, change.Out)
	if _, err := Merge(t.Context(), src, filepath.Join(t.TempDir(), "x.gguf"), []Change{product}, MergeConfig{}, nil); err == nil {
		t.Error("an adapter beside no matrix: no error")
	}
}
