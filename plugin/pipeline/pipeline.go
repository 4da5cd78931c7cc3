// Package pipeline is Pare's own method, from a served model to a smaller one:
//
//	texts.go      the corpus in pieces: to trace and choose by, or held out
//	used.go       used.bin, the text that layers were chosen by, never to be scored
//	frames.go     trace.bin, the sums measured for each piece
//	measure.go    trace and profile: what is missing is traced, the rest kept
//	passages.go   text as sequences of tokens to be scored; questions.go likewise
//	book.go       scores.bin, what each variant of the model made of each passage
//	choose.go     plan: which layers go; try.go by running the model without them,
//	              live.go by what was measured of requests
//	cut.go        cut: the GGUF without them; package heal repairs it
//	judge.go      evaluate: what that costs; evaluate.go for any two models
//	prune.go      the job: all of these, then register
//	sweep.go      many cuts, tried and not made
//	merge.go      another job: a model with its adapter merged, so that it can be cut
//
// Each stage leaves a file with the digest of what it was made from, and finds
// it again: a job that was cut short goes on where it stopped.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
	"pare/plugin/heal"
	"pare/plugin/profile"
)

// Pipeline implements plugin.Pruner.
type Pipeline struct {
	Version string // of Pare, written into the files it makes
}

// Describe implements plugin.Pruner.
func (p Pipeline) Describe(context.Context) (plugin.Description, error) {
	return plugin.Description{Name: "pare", Version: p.Version, Criteria: profile.Criteria(), Repairs: heal.Methods()}, nil
}

// open opens a model's GGUF and reads what decides how it may be cut.
func open(m plugin.Model) (*gguf.File, convert.Model, error) {
	f, err := gguf.Open(m.Path)
	if err != nil {
		return nil, convert.Model{}, fmt.Errorf("read the GGUF of %s: %w", m.Name, err)
	}
	shape, err := convert.Inspect(f)
	if err != nil {
		f.Close()
		return nil, convert.Model{}, fmt.Errorf("%s cannot be pruned: %w", m.Name, err)
	}
	return f, shape, nil
}

// kinded gives an error of this package its kind, in one place.
func kinded(err error) error {
	var kind plugin.Kind
	var (
		already   *plugin.Error
		selection *profile.SelectionError
		cut       *convert.CutError
		format    *gguf.FormatError
		adapter   *convert.AdapterError
	)
	switch {
	case err == nil, errors.As(err, &already):
		return err
	case errors.As(err, &selection):
		kind = plugin.Invalid
	case errors.As(err, &cut), errors.As(err, &format), errors.As(err, &adapter),
		errors.Is(err, convert.ErrNotDecoder), errors.Is(err, convert.ErrUnknownArchitecture), errors.Is(err, convert.ErrUnfit):
		kind = plugin.Refused
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &plugin.Error{Kind: plugin.NoSpace, Err: err, Hint: "make room and ask for the same job again: it goes on from here"}
	case errors.Is(err, fs.ErrNotExist):
		kind = plugin.NotFound
	default:
		return err
	}
	return &plugin.Error{Kind: kind, Err: err}
}
