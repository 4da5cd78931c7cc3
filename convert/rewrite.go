package convert

import (
	"fmt"
	"slices"
	"strings"

	"pare/gguf"
)

// rewriter changes the metadata of a model whose layers go.
type rewriter struct {
	m       Model
	md      metadata
	removed []int // ascending
	keep    []int // the blocks that stay, prediction included
}

// renumber is the index that block i has after the cut. Blocks that follow the
// layers move with them.
func (rw rewriter) renumber(i int) int {
	n, _ := slices.BinarySearch(rw.removed, i)
	return i - n
}

// metadata returns the keys of the cut model: those of the original in their
// order and with their bytes, except for what counts or lists layers, and for those of
// an earlier cut, which provenanceKVs has.
//
// general.name, general.size_label and what says how the model was quantised
// stay: they tell what the original was. general.parameter_count, which counts
// what is there, is lowered by the numbers that go.
func (rw rewriter) metadata(lost uint64) ([]gguf.KV, error) {
	var kvs []gguf.KV
	for _, kv := range rw.md.f.KVs {
		if strings.HasPrefix(kv.Key, provenancePrefix) {
			continue
		}
		v, err := rw.value(kv.Key, kv.Value, lost)
		if err != nil {
			return nil, fmt.Errorf("rewrite %s: %w", kv.Key, err)
		}
		kvs = append(kvs, gguf.KV{Key: kv.Key, Value: v})
	}
	return rw.pin(kvs), nil
}

// value is what a key says after the cut.
func (rw rewriter) value(key string, v gguf.Value, lost uint64) (gguf.Value, error) {
	prefix := rw.md.arch + "."
	switch key {
	case prefix + "block_count":
		return v.WithUint(uint64(len(rw.keep)))
	case prefix + "leading_dense_block_count":
		return v.WithUint(uint64(rw.dense()))
	case prefix + "attention.cross_attention_layers":
		return rw.indices(v)
	case "general.parameter_count":
		if n, ok := v.Uint(); ok && n >= lost {
			return v.WithUint(n - lost)
		}
	}
	if !rw.m.layered(key, v) {
		return v, nil
	}
	keep := rw.keep
	if v.Len() == rw.m.Layers { // not counting the blocks that predict
		keep = keep[:rw.m.Layers-len(rw.removed)]
	}
	return v.Select(keep)
}

// dense is the number of leading dense layers that stay.
func (rw rewriter) dense() int {
	return rw.renumber(rw.m.rules.dense)
}

// indices rewrites a list of layers: those that go leave it, the others get their
// new numbers.
func (rw rewriter) indices(v gguf.Value) (gguf.Value, error) {
	var out []gguf.Value
	for i := range max(v.Len(), 0) {
		layer, ok := v.At(i).Uint()
		if !ok || layer >= uint64(rw.m.Layers) {
			return gguf.Value{}, fmt.Errorf("entry %d is not one of the %d layers: fetch the file again", i, rw.m.Layers)
		}
		if _, gone := slices.BinarySearch(rw.removed, int(layer)); gone {
			continue
		}
		n, err := v.At(i).WithUint(uint64(rw.renumber(int(layer))))
		if err != nil {
			return gguf.Value{}, err
		}
		out = append(out, n)
	}
	return gguf.Array(v.Elem(), out...)
}

// pin sets the keys that say what the engines would otherwise take from the
// number of layers.
func (rw rewriter) pin(kvs []gguf.KV) []gguf.KV {
	arch := architectures[rw.md.arch]
	var pins []gguf.KV
	if arch.pin != nil {
		pins = arch.pin(rw.md, rw.m.Layers)
	}
	if _, ok := rw.md.value("leading_dense_block_count"); !ok && arch.dense > 0 {
		pins = append(pins, gguf.KV{Key: rw.md.arch + ".leading_dense_block_count", Value: gguf.Uint32(uint32(rw.dense()))})
	}
	for _, pin := range pins {
		at := keyAt(kvs, pin.Key)
		if at >= 0 {
			kvs[at] = pin
		} else {
			kvs = append(kvs, pin)
		}
	}
	return kvs
}
