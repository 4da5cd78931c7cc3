package convert

import (
	"fmt"
	"slices"
	"strings"

	"pare/gguf"
)

// metadata reads the keys of one architecture, "gemma3.block_count" as
// "block_count".
type metadata struct {
	f    *gguf.File
	arch string
}

func (md metadata) value(key string) (gguf.Value, bool) { return md.f.KV(md.arch + "." + key) }

// number is a key's integer, or missing if there is no such key, no integer in it,
// or one that no count or width of a model can be.
func (md metadata) number(key string, missing int) int {
	v, _ := md.value(key)
	n, ok := v.Int()
	if !ok || int64(int32(n)) != n {
		return missing
	}
	return int(n)
}

// real is a key's floating-point number, or missing.
func (md metadata) real(key string, missing float64) float64 {
	v, _ := md.value(key)
	if x, ok := v.Float(); ok {
		return x
	}
	return missing
}

// truth is a key's boolean, or missing.
func (md metadata) truth(key string, missing bool) bool {
	v, _ := md.value(key)
	if b, ok := v.Bool(); ok {
		return b
	}
	return missing
}

// numbers is a key's array of integers; nil if it is none.
func (md metadata) numbers(key string) []int {
	v, _ := md.value(key)
	var out []int
	for i := range max(v.Len(), 0) {
		n, ok := v.At(i).Int()
		if !ok {
			return nil
		}
		out = append(out, int(n))
	}
	return out
}

// each is a key's integers, one for each layer, where the file has one for all of them
// or one for each. An array of one counts for every layer.
func (md metadata) each(key string, layers, missing int) []int {
	out := make([]int, layers)
	values := md.numbers(key)
	for l := range out {
		switch {
		case len(values) > l:
			out[l] = values[l]
		case len(values) == 1:
			out[l] = values[0]
		default:
			out[l] = md.number(key, missing)
		}
	}
	return out
}

// word is a key's string, or missing.
func (md metadata) word(key, missing string) string {
	v, _ := md.value(key)
	if s, ok := v.Str(); ok {
		return s
	}
	return missing
}

// text is a string among the keys that belong to no architecture.
func text(f *gguf.File, key string) (string, bool) {
	v, _ := f.KV(key)
	return v.Str()
}

// perLayer lists the keys that have one value for all layers or one for each.
var perLayer = []string{
	"attention.head_count",
	"attention.head_count_kv",
	"attention.sliding_window",
	"attention.sliding_window_pattern",
	"attention.block_skip_connection.0",
	"attention.block_skip_connection.1",
	"attention.block_skip_connection.2",
	"attention.block_skip_connection.3",
	"feed_forward_length",
	"expert_feed_forward_length",
	"expert_count",
	"expert_used_count",
}

// xielu lists the per-layer keys of apertus, which bear no architecture's name.
var xielu = []string{"xielu.alpha_n", "xielu.alpha_p", "xielu.beta", "xielu.eps"}

// notPerLayer lists arrays that may have as many values as there are layers by
// accident, and the beginnings of groups of such.
var notPerLayer = []string{
	"attention.cross_attention_layers",       // indices of layers
	"classifier.", "mrope_sections", "rope.", // rope: sections of a head, factors of its frequencies
	"vision.", "audio.", "sam.", "clip.", "projector.", // other towers
}

// layered reports whether the values of a key are one for each layer.
// Keys of the architecture that neither list knows are, if their number says so.
func (m Model) layered(key string, v gguf.Value) bool {
	if v.Len() != m.Layers+m.Prediction && v.Len() != m.Layers {
		return false
	}
	if slices.Contains(xielu, key) {
		return true
	}
	rest, ok := strings.CutPrefix(key, m.Architecture+".")
	return ok && !slices.ContainsFunc(notPerLayer, func(p string) bool { return strings.HasPrefix(rest, p) })
}

// checkArrays refuses a file whose per-layer arrays do not fit its number of
// layers. An array of one value counts for every layer in Ollama's engine.
func checkArrays(md metadata, m Model) error {
	keys := slices.Clone(xielu)
	for _, key := range perLayer {
		keys = append(keys, md.arch+"."+key)
	}
	for _, key := range keys {
		v, _ := md.f.KV(key)
		if n := v.Len(); n > 1 && n != m.Layers && n != m.Layers+m.Prediction {
			return fmt.Errorf("%s has %d values for %d layers: the file is damaged, or was cut by a program that forgot them: %w", key, n, m.Layers, ErrUnfit)
		}
	}
	return nil
}

// keyAt is where a key stands among kvs, or -1.
func keyAt(kvs []gguf.KV, key string) int {
	return slices.IndexFunc(kvs, func(kv gguf.KV) bool { return kv.Key == key })
}
