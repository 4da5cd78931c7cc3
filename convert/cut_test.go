package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pare/gguf"
	"pare/plugin/layers"
)

var parent = "sha256:" + strings.Repeat("0123456789abcdef", 4)

// cutFile cuts a tiny model and opens the result.
func cutFile(t *testing.T, src *gguf.File, remove string) (*gguf.File, CutResult) {
	t.Helper()
	list, err := layers.Parse(remove)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.gguf")
	cfg := CutConfig{Remove: list, Provenance: Provenance{Parent: parent, Criterion: "angular", TracedTokens: 4096, Version: "1.2.3"}}
	result, err := Cut(t.Context(), src, path, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, result
}

// contents lists the tensors of a file in order, each with the name that its
// bytes were made from.
func contents(t *testing.T, f *gguf.File) []string {
	t.Helper()
	var out []string
	for _, tensor := range f.Tensors {
		data, err := io.ReadAll(f.Data(tensor))
		if err != nil {
			t.Fatal(err)
		}
		made := strings.TrimSpace(string(data))
		out = append(out, tensor.Name+" from "+made)
	}
	return out
}

func TestCutRenumbers(t *testing.T) {
	d := tiny{arch: "llama", layers: 12, tensors: []string{"v.blk.3.attn.weight", "mm.3.weight", "blk.x.odd", "rope_freqs.weight"}}
	f, result := cutFile(t, d.file(t), "2-10")
	want := []string{
		"token_embd.weight from token_embd.weight",
		"blk.0.attn_norm.weight from blk.0.attn_norm.weight", "blk.0.ffn_down.weight from blk.0.ffn_down.weight",
		"blk.1.attn_norm.weight from blk.1.attn_norm.weight", "blk.1.ffn_down.weight from blk.1.ffn_down.weight",
		"blk.2.attn_norm.weight from blk.11.attn_norm.weight", "blk.2.ffn_down.weight from blk.11.ffn_down.weight",
		"output_norm.weight from output_norm.weight",
		"v.blk.3.attn.weight from v.blk.3.attn.weight", "mm.3.weight from mm.3.weight",
		"blk.x.odd from blk.x.odd", "rope_freqs.weight from rope_freqs.weight",
	}
	if got := contents(t, f); !slices.Equal(got, want) {
		t.Errorf("tensors\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n, _ := f.KV("llama.block_count"); n.Type() != gguf.TypeUint32 || !n.Equal(gguf.Uint32(3)) {
		t.Errorf("block_count is %v", n)
	}
	if result.LayersBefore != 12 || result.LayersAfter != 3 || result.ParametersBefore-result.ParametersAfter != 9*2*8 {
		t.Errorf("result %+v", result)
	}
}

func TestCutReportsTheFile(t *testing.T) {
	src := tiny{arch: "llama", layers: 4}.file(t)
	path := filepath.Join(t.TempDir(), "cut.gguf")
	var told int64
	result, err := Cut(t.Context(), src, path, CutConfig{Remove: []int{1}, Provenance: Provenance{Parent: parent}},
		func(done, total int64) { told = done - total })
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256(data)); result.Digest != want || result.BytesAfter != int64(len(data)) || told != 0 {
		t.Errorf("result %+v, progress ended %d bytes short; the file has %d bytes and digest %s", result, -told, len(data), want)
	}
}

// TestCutNothing: the same file, in an order and with gaps that no writer chooses.
func TestCutNothing(t *testing.T) {
	b := tiny{arch: "gemma2", layers: 5, keys: keys(key("attention.head_count", repeat(5, 4)))}.builder()
	b.Padding, b.Trailing = 0xee, []byte("behind it all")
	slices.Reverse(b.Tensors)
	data := b.Bytes()
	path := filepath.Join(t.TempDir(), "same.gguf")
	if _, err := Cut(t.Context(), read(t, data), path, CutConfig{}, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Error("cutting nothing changed the file")
	}
}

func TestCutMetadata(t *testing.T) {
	for _, c := range []struct {
		name   string
		model  tiny
		remove string
		key    string
		want   string
	}{
		{"per-layer numbers", tiny{arch: "jamba", layers: 6, keys: keys(key("attention.head_count_kv", []uint32{0, 1, 0, 2, 0, 3}))},
			"1-2", "jamba.attention.head_count_kv", "[0 2 0 3]"},
		{"per-layer truths", tiny{arch: "olmo3", layers: 4, keys: keys(key("attention.sliding_window_pattern", []bool{true, true, false, true}))},
			"0,2", "olmo3.attention.sliding_window_pattern", "[true true]"},
		{"per-layer settings without a prefix", tiny{arch: "apertus", layers: 3, keys: keys(key("xielu.beta", []float32{1, 2, 3}))},
			"1", "xielu.beta", "[1 3]"},
		{"one number for all", tiny{arch: "llama", layers: 6, keys: keys(key("attention.head_count_kv", uint32(7)))}, "1-2", "llama.attention.head_count_kv", "7"},
		{"array of one", tiny{arch: "qwen3next", layers: 6, keys: keys(key("attention.head_count", []uint32{7}))}, "0-3", "qwen3next.attention.head_count", "[7]"},
		{"unknown array as long as the model", tiny{arch: "llama", layers: 4, keys: keys(key("future.per_layer", []uint32{5, 6, 7, 8}))},
			"0", "llama.future.per_layer", "[6 7 8]"},
		{"sections of a head", tiny{arch: "qwen2vl", layers: 4, keys: keys(key("rope.dimension_sections", []int32{16, 24, 24, 0}))},
			"1", "qwen2vl.rope.dimension_sections", "[16 24 24 0]"},
		{"blocks of a vision tower", tiny{arch: "qwen25vl", layers: 4, keys: keys(key("vision.fullatt_block_indexes", []int32{7, 15, 23, 31}))},
			"1", "qwen25vl.vision.fullatt_block_indexes", "[7 15 23 31]"},
		{"tokens as many as layers", tiny{arch: "llama", layers: 3, keys: keys(key("tokenizer.ggml.tokens", []string{"a", "b", "c"}))},
			"1", "tokenizer.ggml.tokens", "[a b c]"},
		{"cross-attention", tiny{arch: "mllama", layers: 8, keys: keys(key("attention.cross_attention_layers", []int32{1, 3, 6}))},
			"2-4", "mllama.attention.cross_attention_layers", "[1 3]"},
		{"leading dense layers", tiny{arch: "deepseek2", layers: 6, keys: keys(key("leading_dense_block_count", uint32(3)))},
			"1,4", "deepseek2.leading_dense_block_count", "2"},
		{"implied dense layer", tiny{arch: "deepseekocr", layers: 3}, "0", "deepseekocr.leading_dense_block_count", "0"},
		{"prediction blocks are counted", tiny{arch: "glm4moe", layers: 6, keys: keys(key("nextn_predict_layers", uint32(1)))}, "1-2", "glm4moe.block_count", "4"},
		{"prediction blocks have values", tiny{arch: "glm4moe", layers: 4,
			keys: keys(key("nextn_predict_layers", uint32(1)), key("attention.head_count", []uint32{4, 4, 8, 9}))}, "1", "glm4moe.attention.head_count", "[4 8 9]"},
		{"prediction blocks have none", tiny{arch: "glm4moe", layers: 4,
			keys: keys(key("nextn_predict_layers", uint32(1)), key("attention.head_count", []uint32{4, 4, 8}))}, "1", "glm4moe.attention.head_count", "[4 8]"},
		{"parameters", tiny{arch: "llama", layers: 4, keys: keys(key("general.parameter_count", uint64(1000)))}, "1-2", "general.parameter_count", "968"},
		{"label of the original", tiny{arch: "llama", layers: 4, keys: keys(key("general.size_label", "135M"))}, "1", "general.size_label", "135M"},
		{"gemma3's scale of positions", tiny{arch: "gemma3", layers: 34, keys: gemma3Window}, "6-11", "gemma3.rope.scaling.factor", "8"},
		{"gemma3's cap on logits", tiny{arch: "gemma3", layers: 26, keys: append(keys(key("final_logit_softcapping", float32(30))), gemma3Window...)},
			"0-5", "gemma3.final_logit_softcapping", "0"},
		{"minicpm's scale of layers", tiny{arch: "minicpm", layers: 49}, "4-6", "minicpm.residual_scale", "0.2"},
		{"minicpm's own scale of layers", tiny{arch: "minicpm", layers: 49, keys: keys(key("residual_scale", float32(0.5)))}, "4-6", "minicpm.residual_scale", "0.5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, _ := cutFile(t, c.model.file(t), c.remove)
			v, ok := f.KV(c.key)
			if got := show(v); !ok || got != c.want {
				t.Errorf("%s = %s, want %s", c.key, got, c.want)
			}
		})
	}
}

// show writes a value as fmt does.
func show(v gguf.Value) string {
	if n := v.Len(); n >= 0 {
		var parts []string
		for i := range n {
			parts = append(parts, show(v.At(i)))
		}
		return fmt.Sprint(parts)
	}
	if n, ok := v.Int(); ok {
		return fmt.Sprint(n)
	}
	if x, ok := v.Float(); ok {
		return fmt.Sprint(math.Round(1e6*x) / 1e6)
	}
	if b, ok := v.Bool(); ok {
		return fmt.Sprint(b)
	}
	s, _ := v.Str()
	return s
}

// TestCutKeepsMetadata: keys that have nothing to do with layers keep their order
// and their bytes, and what Pare adds follows.
func TestCutKeepsMetadata(t *testing.T) {
	src := tiny{arch: "llama", layers: 4, keys: keys(key("rope.freq_base", float32(1e6)), key("tokenizer.ggml.scores", []float32{1, 2, 3, 4}),
		key("general.tags", []string{"a", "b", "c", "d"}), key("general.odd", int8(-3)))}.file(t)
	f, _ := cutFile(t, src, "1")
	var got []string
	for i, kv := range f.KVs {
		if i < len(src.KVs) && kv.Key != "llama.block_count" && !kv.Value.Equal(src.KVs[i].Value) {
			t.Errorf("%s = %s, want %s", kv.Key, show(kv.Value), show(src.KVs[i].Value))
		}
		got = append(got, kv.Key)
	}
	want := []string{
		"general.architecture", "llama.block_count", "llama.rope.freq_base", "tokenizer.ggml.scores", "general.tags", "general.odd",
		"pare.parent.digest", "pare.removed_layers", "pare.traced_tokens", "pare.criterion", "pare.version",
	}
	if !slices.Equal(got, want) {
		t.Errorf("keys %v, want %v", got, want)
	}
}

// repaired is a model that says how it was repaired.
func repaired(t *testing.T, f *gguf.File, how string) *gguf.File {
	t.Helper()
	l, path := f.Layout(), filepath.Join(t.TempDir(), "repaired.gguf")
	l.KVs = append(l.KVs, gguf.KV{Key: "pare.repair", Value: gguf.String(how)})
	if _, err := gguf.Write(t.Context(), path, l, nil); err != nil {
		t.Fatal(err)
	}
	healed, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { healed.Close() })
	return healed
}

func TestCutRemembersCuts(t *testing.T) {
	first, _ := cutFile(t, tiny{arch: "llama", layers: 9}.file(t), "2-4")
	second, _ := cutFile(t, repaired(t, first, "linear"), "1,3")
	third, _ := cutFile(t, second, "0")
	cuts, err := History(third)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range cuts {
		got = append(got, fmt.Sprintf("%s %d %s %s %s", layers.Format(p.Removed), p.TracedTokens, p.Criterion, p.Version, p.Repair))
		if p.Parent != parent {
			t.Errorf("parent %q, want %q", p.Parent, parent)
		}
	}
	want := []string{"2-4 4096 angular 1.2.3 linear", "1,3 4096 angular 1.2.3 ", "0 4096 angular 1.2.3 "}
	if !slices.Equal(got, want) {
		t.Errorf("history %q, want %q", got, want)
	}
	if cuts, err := History(tiny{arch: "llama", layers: 2}.file(t)); err != nil || cuts != nil {
		t.Errorf("history of an uncut model: %v, %v", cuts, err)
	}
}

// TestCutFails: after each kind of failure there is no output.
func TestCutFails(t *testing.T) {
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	marks := Provenance{Parent: parent}
	for _, c := range []struct {
		name string
		ctx  context.Context
		cfg  CutConfig
		want string
	}{
		{"not possible", t.Context(), CutConfig{Remove: []int{1}, Provenance: marks}, "cannot remove layer 1: every 2nd layer"},
		{"no such layer", t.Context(), CutConfig{Remove: []int{-1}, Provenance: marks}, "cannot remove layer -1: there is no layer -1"},
		{"no parent", t.Context(), CutConfig{Remove: []int{1, 2}}, `cut model: parent digest "": want "sha256:"`},
		{"bad count", t.Context(), CutConfig{Remove: []int{1, 2}, Provenance: Provenance{Parent: parent, TracedTokens: -1}}, "cut model: traced tokens: -1 is negative"},
		{"stopped", stopped, CutConfig{Remove: []int{1, 2}, Provenance: marks}, context.Canceled.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			_, err := Cut(c.ctx, tiny{arch: "gemma2", layers: 6}.file(t), filepath.Join(folder, "cut.gguf"), c.cfg, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if c.ctx == stopped && !errors.Is(err, context.Canceled) {
				t.Errorf("%v is not context.Canceled", err)
			}
			if left, _ := os.ReadDir(folder); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
