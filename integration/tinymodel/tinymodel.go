// Package tinymodel makes language models of some hundred kilobytes: random weights
// from a seed, a tokenizer that can spell any text, and everything that llama.cpp and
// Ollama's own engine ask of a GGUF file. What they say is noise; what they have is the
// anatomy of the real ones, so that serving, tracing, cutting and repairing can be
// tested in seconds and without a download.
package tinymodel

import (
	"fmt"
	"slices"
	"strings"

	"pare/gguf/gguftest"
)

// The sizes that all tiny models share.
const (
	Hidden        = 64
	Heads         = 4
	KVHeads       = 2
	HeadSize      = Hidden / Heads
	FeedForward   = 128
	ContextLength = 2048
)

// Architectures names those that New can make.
var Architectures = []string{"llama", "qwen2", "qwen3", "gemma3"}

// Ollamas names more of them, which Ollama's own engine can run and llama.cpp cannot.
var Ollamas = []string{"olmo3"}

// Llamas names more of them, which llama.cpp runs in either engine and whose graphs are
// held against it. Serving them is no different from serving the others.
var Llamas = []string{"gemma2", "phi3"}

// Positions names the ways of telling positions, besides the plain one, that Config
// knows: frequencies divided alike, one by one by a tensor, or as in YaRN.
var Positions = []string{"linear", "factors", "yarn"}

// Config says which model to make. The same Config gives the same bytes.
type Config struct {
	Architecture string // one of Architectures, of Ollamas or of Llamas
	Layers       int    // 0 means 8, or 12 for gemma3: two periods of its sliding window
	Seed         uint64 // of the weights
	Float32      bool   // store matrices as F32; they are F16 otherwise
	Positions    string // "" or one of Positions; only llama and phi3 take "factors"
}

// Validate names the field at fault.
func (c Config) Validate() error {
	if all := slices.Concat(Architectures, Ollamas, Llamas); !slices.Contains(all, c.Architecture) {
		return fmt.Errorf("make tiny model: Architecture %q is none of %s", c.Architecture, strings.Join(all, ", "))
	}
	if c.Positions != "" && !slices.Contains(Positions, c.Positions) {
		return fmt.Errorf("make tiny model: Positions %q is none of %s", c.Positions, strings.Join(Positions, ", "))
	}
	if c.Positions == "factors" && c.Architecture != "llama" && c.Architecture != "phi3" {
		return fmt.Errorf("make tiny model: Positions is %q, and %s has no tensor of factors", c.Positions, c.Architecture)
	}
	if c.Layers < 0 {
		return fmt.Errorf("make tiny model: Layers is %d; give 1 or more, or 0 for the default", c.Layers)
	}
	return nil
}

// New returns a GGUF file, to be written to disk as it is. It fails only where
// Validate does.
func New(c Config) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	f := families[c.Architecture]
	if c.Layers == 0 {
		c.Layers = f.layers
	}
	v := f.vocabulary()
	file := gguftest.Builder{
		KVs:     append(f.keyValues(c), v.keyValues()...),
		Tensors: f.tensors(c, v),
	}
	return file.Bytes(), nil
}
