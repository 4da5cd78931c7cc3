// Package engine is the scoring process: llama.cpp, as Ollama builds it, computing
// for package score on the other end of a pipe.
//
//	serve.go     the requests
//	engine.go    the models it holds
//	file.go      what a GGUF says of itself
//	model.go     a loaded model and its context; offload.go on which device
//	forward.go   a forward pass; bypass.go without some layers
//	score.go     probabilities of given tokens; kept.go what others are held against
//	observe.go   the residual stream; likeliest.go the most likely tokens
//	logits.c     the arithmetic over the vocabulary
//	transcribe.go  chats as tokens
//	generate.go  answers; voice.go their text; together.go several at a time
//	footprint.go what a model takes
//	native.c     what package llama lacks
package engine

import (
	"errors"
	"slices"

	"github.com/ollama/ollama/llama"

	"pare/host/score"
	"pare/plugin"
)

// An engine holds the models of the latest request.
type engine struct {
	models     map[string]*model // by path
	vocabulary *vocabulary
	keep       int // bytes of logits of the first variant that others are held against
}

func newEngine() *engine { return &engine{models: map[string]*model{}, keep: keptBytes} }

// open loads what is missing of models, each with a context of so many tokens, and
// lets go of all others first.
func (e *engine) open(models []score.Model, size int, again bool) ([]score.Opened, error) {
	for path, m := range e.models {
		used := slices.ContainsFunc(models, func(want score.Model) bool { return want.Path == path })
		if !used || again && m.short {
			m.free()
			delete(e.models, path)
		}
	}
	var out []score.Opened
	var first *model
	for _, want := range models {
		m, err := e.hold(want, size, 1)
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = m
		}
		if err := first.sameVocabulary(m); err != nil {
			return nil, err
		}
		out = append(out, score.Opened{Path: m.path, Layers: m.layers + 1, Offloaded: m.offloaded, Short: m.short})
	}
	return out, nil
}

// hold returns a loaded model whose context has room for so many sequences of size tokens.
func (e *engine) hold(want score.Model, size, sequences int) (*model, error) {
	m, n := e.models[want.Path], threads(want.Threads)
	var f file
	var err error
	if m != nil {
		f = m.file
	} else if f, err = readFile(want.Path); err != nil {
		return nil, err
	}
	if err := errors.Join(f.takes(size), f.has(want.Bypass)); err != nil {
		return nil, err
	}
	if m != nil {
		if m.fit(size, sequences, n) == nil {
			return m, nil
		}
		m.free() // with the larger context fewer layers may fit on GPUs
		delete(e.models, want.Path)
	}
	e.dropVocabulary()
	if m, err = load(f, size, sequences, n); err != nil {
		return nil, err
	}
	e.models[want.Path] = m
	return m, nil
}

// takes checks that the model was trained with texts of so many tokens.
func (f file) takes(tokens int) error {
	if f.trained > 0 && tokens > f.trained {
		return plugin.Errorf(plugin.Invalid, "run %d tokens through %s: it was trained with %d at most; use shorter texts", tokens, f.name(), f.trained)
	}
	return nil
}

func (m *model) sameVocabulary(other *model) error {
	if m.handle.NumVocab() == other.handle.NumVocab() && m.vocabulary == other.vocabulary {
		return nil
	}
	return plugin.Errorf(plugin.Invalid, "%s and %s have different vocabularies; only models that take text for the same tokens can be held against each other", m.name(), other.name())
}

// A vocabulary is a model of which nothing but the tokens was loaded.
type vocabulary struct {
	path   string
	handle *llama.Model
}

// tokenize turns texts into tokens. A model that is not loaded need not be.
func (e *engine) tokenize(r *score.Tokenize) ([][]int32, error) {
	handle, err := e.tokens(r.Path)
	if err != nil {
		return nil, err
	}
	out := make([][]int32, 0, len(r.Texts))
	for _, text := range r.Texts {
		ids, err := tokensOf(handle, text, r.Special)
		if err != nil {
			return nil, err
		}
		out = append(out, ids)
	}
	return out, nil
}

// tokens is a handle on a model's vocabulary, loaded or not.
func (e *engine) tokens(path string) (*llama.Model, error) {
	if m := e.models[path]; m != nil {
		return m.handle, nil
	}
	if e.vocabulary != nil && e.vocabulary.path == path {
		return e.vocabulary.handle, nil
	}
	f, err := readFile(path)
	if err != nil {
		return nil, err
	}
	e.dropVocabulary()
	handle, err := llama.LoadModelFromFile(path, llama.ModelParams{VocabOnly: true})
	if err != nil {
		return nil, f.unloadable(loadReason())
	}
	e.vocabulary = &vocabulary{path: path, handle: handle}
	return handle, nil
}

// tokensOf is a text as a prompt of its own.
func tokensOf(handle *llama.Model, text string, special bool) ([]int32, error) {
	ids, err := handle.Tokenize(text, true, special)
	if err != nil {
		return nil, plugin.Errorf(plugin.Refused, "tokenize: %w", err)
	}
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out, nil
}

func (e *engine) dropVocabulary() {
	if e.vocabulary != nil {
		llama.FreeModel(e.vocabulary.handle)
		e.vocabulary = nil
	}
}

// close lets go of everything.
func (e *engine) close() {
	for _, m := range e.models {
		m.free()
	}
	clear(e.models)
	e.dropVocabulary()
}
