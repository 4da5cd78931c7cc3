package convert

import (
	"bytes"
	"fmt"
	"testing"

	"pare/gguf"
	"pare/gguf/gguftest"
)

// tiny describes a model of few layers, each with two small tensors.
type tiny struct {
	arch   string
	layers int
	keys   []gguftest.KV // "rope.freq_base" gains the architecture's name, "general.name" does not

	tensors []string // in addition, by name
}

// alone are the groups of keys that belong to no architecture.
var alone = []string{"general.", "tokenizer.", "xielu.", "pare."}

func (d tiny) builder() gguftest.Builder {
	b := gguftest.Builder{KVs: []gguftest.KV{
		{Key: "general.architecture", Value: d.arch},
		{Key: d.arch + ".block_count", Value: uint32(d.layers)},
	}}
	for _, kv := range d.keys {
		qualified := d.arch + "." + kv.Key
		for _, prefix := range alone {
			if len(kv.Key) > len(prefix) && kv.Key[:len(prefix)] == prefix {
				qualified = kv.Key
			}
		}
		b.KVs = append(b.KVs, gguftest.KV{Key: qualified, Value: kv.Value})
	}
	names := []string{"token_embd.weight"}
	for i := range d.layers {
		names = append(names, fmt.Sprintf("blk.%d.attn_norm.weight", i), fmt.Sprintf("blk.%d.ffn_down.weight", i))
	}
	for _, name := range append(append(names, "output_norm.weight"), d.tensors...) {
		b.Tensors = append(b.Tensors, gguftest.Tensor{Name: name, Shape: []uint64{8}, Bytes: numbered(name)})
	}
	return b
}

// numbered is 32 bytes that no tensor of another name has.
func numbered(name string) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%-32s", name)), 2)[:32]
}

func (d tiny) file(t *testing.T) *gguf.File {
	t.Helper()
	return read(t, d.builder().Bytes())
}

func (d tiny) model(t *testing.T) Model {
	t.Helper()
	m, err := Inspect(d.file(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func read(t *testing.T, data []byte) *gguf.File {
	t.Helper()
	f, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func key(name string, value any) gguftest.KV { return gguftest.KV{Key: name, Value: value} }
