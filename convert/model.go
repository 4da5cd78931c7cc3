// Package convert takes GGUF models from one form to another. It removes layers,
// so that the file that remains is one that Ollama's engines serve as they served
// the original: every layer that stays keeps its weights, its settings and its
// kind.
package convert

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pare/gguf"
)

// Errors for decisions. Inspect wraps them in a sentence about the file.
var (
	ErrNotDecoder          = errors.New("this model is no decoder")
	ErrUnknownArchitecture = errors.New("this architecture is not known to Pare")
	ErrUnfit               = errors.New("this is no whole model; fetch it again")
)

// maxBlocks bounds the layers that Pare believes in. llama.cpp stops at 512.
const maxBlocks = 1024

// Model is the stack of layers in a GGUF file, and which of them may go. It holds
// nothing of the file and outlives it.
type Model struct {
	Architecture string // general.architecture
	Layers       int    // decoder layers that every token runs through: 0 to Layers-1
	Prediction   int    // blocks after them that guess further tokens; they follow and are never cut
	Parameters   uint64 // numbers in all tensors
	Context      int    // tokens that the model was made for, 0 if the file does not say

	rules rules
}

// Inspect reads what decides how f may be cut. The error wraps ErrNotDecoder for
// encoders, encoder-decoders, diffusion models and projectors,
// ErrUnknownArchitecture for what Ollama does not serve, and ErrUnfit for a file
// that lacks part of a model or contradicts itself.
func Inspect(f *gguf.File) (Model, error) {
	name, ok := text(f, "general.architecture")
	if !ok {
		return Model{}, fmt.Errorf("inspect model: the file has no general.architecture: %w", ErrUnfit)
	}
	if kind, _ := text(f, "general.type"); kind != "" && kind != "model" {
		return Model{}, fmt.Errorf("inspect model: this is a file of type %s: cut the model that it belongs to: %w", kind, ErrNotDecoder)
	}
	arch, ok := architectures[name]
	if !ok {
		return Model{}, fmt.Errorf("inspect model: how %s models order their layers is not known: %w", name, ErrUnknownArchitecture)
	}
	md := metadata{f: f, arch: name}
	if arch.not == "" && !md.truth("attention.causal", true) {
		arch.not = "an encoder"
	}
	if arch.not != "" {
		return Model{}, fmt.Errorf("inspect model: %s is %s: %w", name, arch.not, ErrNotDecoder)
	}
	return inspectDecoder(md, arch)
}

// inspectDecoder counts the blocks of a decoder and works out its rules.
func inspectDecoder(md metadata, arch architecture) (Model, error) {
	blocks := md.number("block_count", 0)
	if blocks < 1 || blocks > maxBlocks {
		return Model{}, fmt.Errorf("inspect model: %s.block_count is missing or not between 1 and %d: %w", md.arch, maxBlocks, ErrUnfit)
	}
	m := Model{Architecture: md.arch, Layers: blocks, Context: md.number("context_length", 0)}
	if arch.prediction {
		m.Prediction = md.number("nextn_predict_layers", 0)
		m.Layers -= m.Prediction
	}
	if m.Layers < 1 || m.Prediction < 0 {
		return Model{}, fmt.Errorf("inspect model: %d of %d blocks are said to predict further tokens, which leaves no layer: %w", m.Prediction, blocks, ErrUnfit)
	}
	found := false
	for _, t := range md.f.Tensors {
		m.Parameters += elements(t)
		_, _, ok := blockTensor(t.Name)
		found = found || ok
	}
	if !found {
		return Model{}, fmt.Errorf("inspect model: no tensor is named blk.N, the file holds metadata only: %w", ErrUnfit)
	}
	if err := checkArrays(md, m); err != nil {
		return Model{}, fmt.Errorf("inspect model: %w", err)
	}
	m.rules = newRules(md, arch, m)
	return m, nil
}

// Weight is what layers of f take: the bytes of their tensors, and the numbers in
// them. A file without them is smaller by the former, but for some of its header.
func Weight(f *gguf.File, remove []int) (bytes int64, parameters uint64) {
	for _, t := range f.Tensors {
		if block, _, ok := blockTensor(t.Name); ok && slices.Contains(remove, block) {
			bytes += int64(t.Size)
			parameters += elements(t)
		}
	}
	return bytes, parameters
}

// elements is the number of numbers in a tensor.
func elements(t gguf.Tensor) uint64 {
	n := uint64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// blockTensor splits the name of a decoder block's tensor, "blk.7.attn_q.weight",
// into 7 and "attn_q.weight". Other towers name theirs differently (v.blk.7…).
func blockTensor(name string) (block int, rest string, ok bool) {
	name, ok = strings.CutPrefix(name, "blk.")
	if !ok {
		return 0, "", false
	}
	digits, rest, ok := strings.Cut(name, ".")
	if !ok || !decimal(digits) {
		return 0, "", false
	}
	for _, c := range digits {
		block = 10*block + int(c-'0')
	}
	return block, rest, true
}

// decimal reports whether s is a number of at most six digits, as blocks are
// numbered: without sign or leading zero.
func decimal(s string) bool {
	if s == "" || len(s) > 6 || len(s) > 1 && s[0] == '0' {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}
