package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ollama/ollama/fs/gguf"

	"pare/plugin"
)

// A file is what a GGUF says of itself.
type file struct {
	path         string
	bytes        int64
	architecture string
	layers       int
	trained      int      // tokens of the longest text it was trained with; 0 if it does not say
	kvPerToken   int64    // bytes of keys and values in F16
	vocabulary   [32]byte // SHA-256 of the tokens
}

// readFile reads the head of a GGUF.
func readFile(path string) (file, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return file{}, plugin.Errorf(plugin.Invalid, "open model %s: there is no such file; it may have been deleted", path)
	} else if err != nil {
		return file{}, plugin.Errorf(plugin.Invalid, "open model: %w", err)
	}
	g, err := gguf.Open(path)
	if err != nil || string(g.Magic[:]) != "GGUF" {
		return file{}, plugin.Errorf(plugin.Refused, "open model %s: it is not a GGUF", path)
	}
	defer g.Close()
	f := file{
		path: path, bytes: info.Size(),
		architecture: g.KeyValue("general.architecture").String(),
		layers:       int(g.KeyValue("block_count").Uint()),
		trained:      int(g.KeyValue("context_length").Uint()),
		kvPerToken:   kvPerToken(g),
	}
	if f.layers < 1 {
		return file{}, plugin.Errorf(plugin.Refused, "open model %s: it does not say how many layers it has", path)
	}
	h := sha256.New()
	for _, token := range g.KeyValue("tokenizer.ggml.tokens").Strings() {
		binary.Write(h, binary.LittleEndian, uint64(len(token)))
		h.Write([]byte(token))
	}
	h.Sum(f.vocabulary[:0])
	return f, nil
}

// kvPerToken sums over the layers, with H heads of keys K and values V wide:
// H (K + V) numbers of two bytes.
func kvPerToken(g *gguf.File) (sum int64) {
	heads := int64(1)
	if n := numbers(g.KeyValue("attention.head_count")); len(n) > 0 {
		heads = max(1, n[0])
	}
	width := int64(g.KeyValue("embedding_length").Uint()) / heads
	keys, values := width, width
	if n := g.KeyValue("attention.key_length").Uint(); n > 0 {
		keys = int64(n)
	}
	if n := g.KeyValue("attention.value_length").Uint(); n > 0 {
		values = int64(n)
	}
	perLayer := numbers(g.KeyValue("attention.head_count_kv"))
	if len(perLayer) == 0 {
		perLayer = []int64{heads}
	}
	for l := range int(g.KeyValue("block_count").Uint()) {
		sum += perLayer[min(l, len(perLayer)-1)] * (keys + values) * 2
	}
	return sum
}

// numbers is a number, or an array of them, one a layer.
func numbers(kv gguf.KeyValue) (out []int64) {
	switch {
	case kv.Uint() > 0:
		return []int64{int64(kv.Uint())}
	case kv.Int() > 0:
		return []int64{kv.Int()}
	}
	for _, n := range kv.Uints() {
		out = append(out, int64(n))
	}
	return append(out, kv.Ints()...)
}

func (f file) name() string { return filepath.Base(f.path) }

// has checks that a bypass names layers that there are. It may be all of them: what
// the embeddings alone say is where the logit lens begins.
func (f file) has(bypass []int) error {
	for i, l := range bypass {
		if l < 0 || l >= f.layers || i > 0 && l <= bypass[i-1] {
			return plugin.Errorf(plugin.Invalid, "leave out layers %v of a model with the layers 0 to %d: give each once, in ascending order", bypass, f.layers-1)
		}
	}
	return nil
}
