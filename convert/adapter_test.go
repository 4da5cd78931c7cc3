package convert

import (
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
	got, err := ReadAdapter(writeAdapter(t, src, want...), src)
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
	if _, err := ReadAdapter(adapter, cut); err != nil {
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
		"repaired":     matrices(digest("a"), key("pare.removed_layers", []uint32{3}), key("pare.repair", "QLoRA")),
		"more layers":  deep,
		"other shapes": wide,
	} {
		if _, err := ReadAdapter(adapter, read(t, base.Bytes())); !errors.Is(err, ErrOtherBase) {
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
	base := read(t, matrices().Bytes())
	a, b := loraTensor("blk.0.attn_q.weight.lora_a", gguf.F16, 32, 2), loraTensor("blk.0.attn_q.weight.lora_b", gguf.F32, 2, 4)
	for alpha, scale := range map[float32]float32{16: 8, 0: 1} {
		got, err := ReadAdapter(read(t, loraFile(alpha, a, b).Bytes()), base)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].Rank != 2 || got[0].Scale != scale {
			t.Errorf("alpha %v: %+v", alpha, got)
		}
	}
	model := loraFile(1, a, b)
	model.KVs[1].Value = "model"
	vector := loraFile(1, a, b)
	vector.KVs[2].Value = "control_vector"
	for name, file := range map[string]gguftest.Builder{
		"a model":      model,
		"other kind":   vector,
		"only A":       loraFile(1, a),
		"only B":       loraFile(1, b),
		"two B":        loraFile(1, a, b, loraTensor("x.lora_b", gguf.F32, 2, 4)),
		"odd tensor":   loraFile(1, a, b, loraTensor("blk.0.attn_norm.weight", gguf.F32, 2, 4)),
		"other rank":   loraFile(1, a, loraTensor(b.Name, gguf.F32, 1, 4)),
		"whole number": loraFile(1, a, loraTensor(b.Name, gguf.I32, 2, 4)),
		"no number":    loraFile(float32(math.NaN()), a, b),
	} {
		if _, err := ReadAdapter(read(t, file.Bytes()), base); err == nil {
			t.Errorf("%s: no error", name)
		}
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
