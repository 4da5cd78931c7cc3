package convert

import (
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pare/gguf"
	"pare/gguf/gguftest"
)

func writeAdapter(t *testing.T, src *gguf.File, changes ...Change) *gguf.File {
	t.Helper()
	dst := filepath.Join(t.TempDir(), "adapter.gguf")
	if _, err := WriteAdapter(t.Context(), src, dst, changes); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// The engines look for these keys, names and shapes.
func TestAdapterIsWhatEnginesLoad(t *testing.T) {
	src := read(t, matrices().Bytes())
	q, k := productChange("blk.0.attn_q.weight"), productChange("blk.0.attn_k.weight")
	k.Scale = 2 // q's is 0.5
	f := writeAdapter(t, src, q, k)
	for key, want := range map[string]string{"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"} {
		if got, _ := text(f, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	v, _ := f.KV("adapter.lora.alpha")
	if alpha, _ := v.Float(); v.Type() != gguf.TypeFloat32 || alpha != 0.5 {
		t.Errorf("alpha is %v %v", v.Type(), alpha)
	}
	a, _ := f.Tensor("blk.0.attn_k.weight.lora_a")
	b, _ := f.Tensor("blk.0.attn_k.weight.lora_b")
	if !reflect.DeepEqual(a.Shape, []uint64{32, 1}) || !reflect.DeepEqual(b.Shape, []uint64{1, 4}) {
		t.Errorf("shapes %v and %v", a.Shape, b.Shape)
	}
	if got := numbersOf(t, f, b.Name); !reflect.DeepEqual(got, []float32{0, 4, 8, 12}) {
		t.Errorf("B with the rest of the scale is %v", got)
	}
	var err *gguf.FormatError
	if _, e := Inspect(f); e == nil || errors.As(e, &err) || !errors.Is(e, ErrNotDecoder) {
		t.Errorf("as a model: %v", e)
	}
}

func TestAdapterComesBack(t *testing.T) {
	src := read(t, matrices().Bytes())
	want := []Change{productChange("blk.0.attn_q.weight"), productChange("blk.0.attn_k.weight")}
	got, _, err := ReadAdapter(writeAdapter(t, src, want...), src)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// An adapter for a relative of the model changes other layers than it was made for.
func TestAdapterForAnotherBase(t *testing.T) {
	digest := func(c string) gguftest.KV { return key("pare.parent.digest", "sha256:"+strings.Repeat(c, 64)) }
	cut := read(t, matrices(digest("a"), key("pare.removed_layers", []uint32{3})).Bytes())
	adapter := writeAdapter(t, cut, productChange("blk.0.attn_q.weight"))
	if _, _, err := ReadAdapter(adapter, cut); err != nil {
		t.Error(err)
	}
	other := matrices()
	other.KVs[0].Value, other.KVs[1].Key = "qwen2", "qwen2.block_count"
	wide := matrices(digest("a"), key("pare.removed_layers", []uint32{3}))
	for i, tensor := range wide.Tensors {
		if tensor.Name == "blk.0.attn_q.weight" {
			wide.Tensors[i].Shape = []uint64{64, 2}
		}
	}
	deep := matrices(digest("a"), key("pare.removed_layers", []uint32{3}))
	deep.KVs[1].Value = uint32(3)
	for name, base := range map[string]gguftest.Builder{
		"architecture": other,
		"uncut":        matrices(),
		"other cut":    matrices(digest("a"), key("pare.removed_layers", []uint32{4})),
		"other parent": matrices(digest("b"), key("pare.removed_layers", []uint32{3})),
		"adapted":      matrices(digest("a"), key("pare.removed_layers", []uint32{3}), key("pare.adapter", "sha256:1")),
		"repaired":     matrices(digest("a"), key("pare.removed_layers", []uint32{3}), key("pare.repair", "QLoRA")),
		"more layers":  deep,
		"other shapes": wide,
	} {
		if _, _, err := ReadAdapter(adapter, read(t, base.Bytes())); !errors.Is(err, ErrOtherBase) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// loraFile is an adapter as another program might write it.
func loraFile(alpha float32, tensors ...gguftest.Tensor) gguftest.Builder {
	return gguftest.Builder{
		KVs: []gguftest.KV{
			key("general.architecture", "llama"), key("general.type", "adapter"),
			key("adapter.type", "lora"), key("adapter.lora.alpha", alpha),
		},
		Tensors: tensors,
	}
}

func loraTensor(name string, typ gguf.TensorType, cols, rows uint64) gguftest.Tensor {
	size, _ := typ.Bytes([]uint64{cols, rows})
	return gguftest.Tensor{Name: name, Shape: []uint64{cols, rows}, Type: uint32(typ), Bytes: make([]byte, size)}
}

func TestAdapterByOthers(t *testing.T) {
	model := matrices()
	model.Tensors = append(model.Tensors, gguftest.Tensor{Name: "blk.0.ffn_up_exps.weight", Shape: []uint64{8, 4, 2}, Bytes: make([]byte, 4*64)})
	base := read(t, model.Bytes())
	a, b := loraTensor("blk.0.attn_q.weight.lora_a", gguf.F16, 32, 2), loraTensor("blk.0.attn_q.weight.lora_b", gguf.F32, 2, 4)
	for alpha, scale := range map[float32]float32{16: 8, 0: 1} {
		got, _, err := ReadAdapter(read(t, loraFile(alpha, a, b).Bytes()), base)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].Rank != 2 || got[0].Scale != scale {
			t.Errorf("alpha %v: %+v", alpha, got)
		}
	}
	whole := loraFile(1, a, b)
	whole.KVs[1].Value = "model"
	some := loraFile(1, a, b)
	some.KVs = append(some.KVs, key("adapter.alora.invocation_tokens", []uint32{1}))
	vector := loraFile(1, a, b)
	vector.KVs[2].Value = "control_vector"
	for name, file := range map[string]gguftest.Builder{
		"a model":      whole,
		"other kind":   vector,
		"only A":       loraFile(1, a),
		"only B":       loraFile(1, b),
		"two B":        loraFile(1, a, b, loraTensor("x.lora_b", gguf.F32, 2, 4)),
		"odd tensor":   loraFile(1, a, b, loraTensor("blk.0.attn_q.weight", gguf.F32, 2, 4)),
		"nothing":      loraFile(1, loraTensor("blk.0.attn_norm.weight", gguf.F32, 8, 1)),
		"embedding":    loraFile(1, loraTensor("token_embd.weight.lora_a", gguf.F32, 1, 8), loraTensor("token_embd.weight.lora_b", gguf.F32, 1, 8)),
		"experts":      loraFile(1, loraTensor("blk.0.ffn_up_exps.weight.lora_a", gguf.F32, 8, 1), loraTensor("blk.0.ffn_up_exps.weight.lora_b", gguf.F32, 1, 4)),
		"some tokens":  some,
		"other rank":   loraFile(1, a, loraTensor(b.Name, gguf.F32, 1, 4)),
		"whole number": loraFile(1, a, loraTensor(b.Name, gguf.I32, 2, 4)),
		"no number":    loraFile(float32(math.NaN()), a, b),
	} {
		if _, _, err := ReadAdapter(read(t, file.Bytes()), base); err == nil || errors.Is(err, ErrOtherBase) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the engines do with a file is what is read from it.
func TestAdapterAsEnginesApplyIt(t *testing.T) {
	base := read(t, matrices().Bytes())
	wide := productChange("blk.0.attn_q.weight") // of a rank above the matrix's
	wide.Rank, wide.Scale, wide.A, wide.B = 6, 1, make([]float32, 6*32), make([]float32, 4*6)
	for r := range 6 {
		wide.A[r*32] = 1
		wide.B[3*6+r] = 2
	}
	b := loraFile(6,
		loraTensor(wide.Name+".lora_a", gguf.F32, 32, 6), loraTensor("blk.0.attn_norm.weight", gguf.F32, 8, 1),
		loraTensor(wide.Name+".lora_b", gguf.F32, 6, 4))
	b.Tensors[0].Bytes, b.Tensors[2].Bytes = floatBytes(wide.A), floatBytes(wide.B)
	changes, leftOut, err := ReadAdapter(read(t, b.Bytes()), base)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(changes, []Change{wide}) || !reflect.DeepEqual(leftOut, []string{"blk.0.attn_norm.weight"}) {
		t.Errorf("changes %+v without %q", changes, leftOut)
	}
	f, _ := merge(t, base, changes, MergeConfig{})
	if w := numbersOf(t, f, wide.Name); w[96] != 96+12 || w[97] != 97 || w[0] != 0 {
		t.Errorf("merged: %v", w)
	}
}

func floatBytes(w []float32) (b []byte) {
	for _, x := range w {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// An adapter is no small change that was trained on the rounded weights: what holds few
// bits becomes wider, and the file says so.
func TestMergeOfAnAdapter(t *testing.T) {
	const opaque = "blk.1.attn_q.weight" // 256 numbers, the other two have 128 each
	src := read(t, matrices(key("general.file_type", uint32(28)), key("pare.adapter", "sha256:1")).Bytes())
	change := Change{Name: opaque, Out: 1, In: 256, Rank: 1, Scale: 1, A: make([]float32, 256), B: []float32{1}}
	change.A[7] = 0.25
	changes := []Change{productChange("blk.0.attn_k.weight"), productChange("blk.0.attn_q.weight"), change}
	floats := func(gguf.TensorType, []byte) ([]float32, error) { return make([]float32, 256), nil }
	f, r := merge(t, src, changes, MergeConfig{Adapter: "sha256:2", Promote: Wider(src, changes), Floats: floats})
	if want := []string{"blk.0.attn_k.weight", opaque}; !reflect.DeepEqual(r.Promoted, want) {
		t.Errorf("promoted %q, want %q", r.Promoted, want)
	}
	if w := numbersOf(t, f, opaque); math.Abs(float64(w[7]-0.25)) > 1e-4 || w[6] != 0 {
		t.Errorf("what ggml alone could read: %v", w[:9])
	}
	kind, _ := f.KV("general.file_type")
	if n, _ := kind.Uint(); n != 7 {
		t.Errorf("general.file_type is %d, and most numbers are in Q8_0", n)
	}
	if v, _ := text(f, "pare.adapter"); v != "sha256:1; sha256:2" {
		t.Errorf("pare.adapter is %q", v)
	}
	f, _ = merge(t, src, changes[:1], MergeConfig{Promote: Wider(src, changes[:1])})
	kind, _ = f.KV("general.file_type")
	if n, _ := kind.Uint(); n != 28 {
		t.Errorf("general.file_type is %d after one small matrix changed", n)
	}
	if _, err := Merge(t.Context(), src, filepath.Join(t.TempDir(), "x"), changes, MergeConfig{}, nil); err == nil {
		t.Error("what ggml alone can read was changed without it")
	}
}

func TestWriteAdapterRefuses(t *testing.T) {
	src := read(t, matrices().Bytes())
	dense := productChange("blk.0.attn_q.weight")
	dense.Dense = make([]float32, 128)
	foreign := productChange("blk.7.attn_q.weight")
	embedding := Change{Name: "token_embd.weight", Out: 1, In: 8, Rank: 1, A: make([]float32, 8), B: []float32{1}}
	for name, changes := range map[string][]Change{
		"nothing": nil, "a whole matrix": {dense}, "unknown tensor": {foreign}, "the embedding": {embedding},
	} {
		dst := filepath.Join(t.TempDir(), "x")
		if _, err := WriteAdapter(t.Context(), src, dst, changes); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
