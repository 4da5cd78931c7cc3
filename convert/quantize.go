package convert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"pare/convert/quant"
	"pare/gguf"
)

// ErrNoSmaller says that no tensor of a model becomes smaller in the types asked for.
var ErrNoSmaller = errors.New("the model is stored in types as small already")

// A mixture gives a type to each matrix of a model.
type mixture struct {
	fileType uint32          // general.file_type, by its number in llama.cpp
	most     gguf.TensorType // of matrices that nothing else is said of
	finer    *finer          // nil if all have the same
}

// finer are types for matrices whose errors hurt most.
type finer struct {
	values, down, joint gguf.TensorType // of attn_v, of ffn_down and of attn_qkv
	valuesIn, downIn    func(layer, layers int) bool
}

// mixtures are those of `ollama create --quantize`, by their names.
var mixtures = map[string]mixture{
	"F16":    {1, gguf.F16, nil},
	"Q8_0":   {7, gguf.Q8_0, nil},
	"Q4_K_S": {14, gguf.Q4_K, &finer{gguf.Q5_K, gguf.Q5_K, gguf.Q4_K, firstFour, firstEighth}},
	"Q4_K_M": {15, gguf.Q4_K, &finer{gguf.Q6_K, gguf.Q6_K, gguf.Q5_K, aboutHalf, aboutHalf}},
}

func firstFour(layer, _ int) bool        { return layer < 4 }
func firstEighth(layer, layers int) bool { return layer < layers/8 }
func aboutHalf(layer, layers int) bool {
	return layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
}

// Quantizations are what Quantize takes, as Ollama spells them.
func Quantizations() []string { return []string{"F16", "Q8_0", "Q4_K_M", "Q4_K_S"} }

// QuantizeResult tells what Quantize wrote.
type QuantizeResult struct {
	Changed     int    `json:"changed"`      // tensors
	BytesBefore int64  `json:"bytes_before"` // of the whole file
	BytesAfter  int64  `json:"bytes_after"`
	Digest      string `json:"digest"` // of the new file: "sha256:" and 64 hex digits
}

// Quantize writes src to the file dst with its matrices in the types that `ollama
// create --quantize` gives them, which has another table for qwen3next; name is one of Quantizations, in upper or lower case. Only
// tensors in F32, F16, BF16 and Q8_0 are stored anew, and none in a larger type: what
// was rounded to a few bits before would be rounded twice. One tensor at a time is in
// memory. If nothing becomes smaller the error wraps ErrNoSmaller. If Quantize fails, dst
// is as it was before, and src is never changed. progress, unless it is nil, is told
// the bytes written and their total.
func Quantize(ctx context.Context, src *gguf.File, dst, name string, progress func(done, total int64)) (QuantizeResult, error) {
	layout, result, err := quantized(ctx, src, name)
	if err != nil {
		return QuantizeResult{}, fmt.Errorf("quantize model: %w", err)
	}
	written, err := gguf.Write(ctx, dst, layout, progress)
	if err != nil {
		return QuantizeResult{}, fmt.Errorf("quantize model: %w", err)
	}
	result.BytesBefore, result.BytesAfter, result.Digest = src.Size, written.Size, written.Digest()
	return result, nil
}

// CheckQuantize is the error that Quantize would begin with.
func CheckQuantize(src *gguf.File, name string) error {
	_, _, err := quantized(context.Background(), src, name)
	if err != nil {
		return fmt.Errorf("quantize model: %w", err)
	}
	return nil
}

// quantized lays out the file in its new types.
func quantized(ctx context.Context, src *gguf.File, name string) (gguf.Layout, QuantizeResult, error) {
	var result QuantizeResult
	mix, ok := mixtures[strings.ToUpper(name)]
	if !ok {
		return gguf.Layout{}, result, fmt.Errorf("there is no type %q; give one of %s", name, strings.Join(Quantizations(), ", "))
	}
	m, err := Inspect(src)
	if err != nil {
		return gguf.Layout{}, result, err
	}
	s := storing{mix: mix, layers: m.Layers, tied: true}
	s.experts = metadata{f: src, arch: m.Architecture}.number("expert_count", 0)
	for _, t := range src.Tensors {
		s.tied = s.tied && t.Name != ownHead
	}
	layout := src.Layout()
	for i, t := range layout.Tensors {
		to := s.typeOf(t.Tensor)
		size, err := to.Bytes(t.Shape)
		if err != nil || size >= t.Size {
			continue // err is of shapes that no block divides
		}
		old := t.Tensor
		t.Type, t.Size = to, size
		t.From = func() (io.Reader, error) { return requantized(ctx, src, old, to) }
		layout.Tensors[i] = t
		result.Changed++
	}
	if result.Changed == 0 {
		return layout, result, fmt.Errorf("%w: leave %s out", ErrNoSmaller, name)
	}
	layout.KVs = slices.DeleteFunc(slices.Clone(layout.KVs), func(kv gguf.KV) bool {
		return slices.Contains([]string{"general.file_type", "general.quantization_version", "pare.quantize"}, kv.Key)
	})
	layout.KVs = append(layout.KVs,
		gguf.KV{Key: "general.file_type", Value: gguf.Uint32(mix.fileType)},
		gguf.KV{Key: "general.quantization_version", Value: gguf.Uint32(2)}, // of ggml's blocks
		gguf.KV{Key: "pare.quantize", Value: gguf.String(strings.ToUpper(name))})
	return layout, result, nil
}

// requantized is a tensor's data in another type.
func requantized(ctx context.Context, src *gguf.File, t gguf.Tensor, to gguf.TensorType) (io.Reader, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(src.Data(t))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Name, err)
	}
	w, err := quant.Floats(t.Type, data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Name, err)
	}
	if data, err = quant.Quantize(to, w, int(t.Shape[0])); err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return bytes.NewReader(data), nil
}

// storing finds the type for each tensor of one model.
type storing struct {
	mix             mixture
	layers, experts int
	tied            bool // the embedding is the output matrix, too
}

// inFull are parts of the names of matrices that are stored in full: they are small,
// and much depends on each of their numbers.
var inFull = []string{
	"_norm.weight", "ffn_gate_inp", "position_embd.", "token_types.", "ssm_conv1d.", "shortconv.conv.",
	"time_mix_first.", "time_mix_w1.", "time_mix_w2.", "time_mix_decay_w1.", "time_mix_decay_w2.", "time_mix_lerp_fused.",
	"attn_rel_b.", "per_layer_token_embd.", "mm.",
}

// latent are parts of the names of the projections of multi-head latent attention.
var latent = []string{"attn_k_b.", "attn_v_b.", "attn_kv_a_mqa.", "attn_q_a.", "attn_q_b."}

// typeOf is the type that a tensor is to have; its own if that is to stay.
func (s storing) typeOf(t gguf.Tensor) gguf.TensorType {
	within := func(part string) bool { return strings.Contains(t.Name, part) }
	if len(t.Shape) < 2 || !strings.HasSuffix(t.Name, "weight") || strings.HasPrefix(t.Name, "v.") || slices.ContainsFunc(inFull, within) {
		return t.Type
	}
	if !slices.Contains([]gguf.TensorType{gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0}, t.Type) {
		return t.Type
	}
	return fitting(s.wanted(t), t.Shape[0])
}

// wanted is the type that suits what a matrix does.
func (s storing) wanted(t gguf.Tensor) gguf.TensorType {
	finer := s.mix.finer
	if finer == nil {
		return s.mix.most
	}
	within := func(part string) bool { return strings.Contains(t.Name, part) }
	layer, _, _ := blockTensor(t.Name)
	switch {
	case t.Name == ownHead, t.Name == embedding && s.tied:
		return gguf.Q6_K
	case slices.ContainsFunc(latent, within), s.experts == 8 && (within("attn_v.") || within("attn_k.")):
		return gguf.Q8_0
	case s.experts == 8 && within("attn_output."):
		return gguf.Q5_K
	case within("attn_v.") && finer.valuesIn(layer, s.layers):
		return finer.values
	case within("ffn_down") && finer.downIn(layer, s.layers):
		return finer.down
	case within("attn_qkv."):
		return finer.joint
	}
	return s.mix.most
}

// fitting is the type, or one like it whose blocks divide rows of so many numbers.
func fitting(t gguf.TensorType, cols uint64) gguf.TensorType {
	like := map[gguf.TensorType]gguf.TensorType{gguf.Q4_K: gguf.Q5_0, gguf.Q5_K: gguf.Q5_1, gguf.Q6_K: gguf.Q8_0}
	if other, ok := like[t]; ok && cols%t.BlockSize() != 0 {
		t = other
	}
	if cols%t.BlockSize() != 0 {
		return gguf.F16
	}
	return t
}
