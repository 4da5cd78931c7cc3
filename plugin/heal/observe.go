package heal

import (
	"context"
	"fmt"
	"path/filepath"

	"pare/plugin"
	"pare/plugin/lessons"
	"pare/repair"
)

// topTokens is how many of the uncut model's likely tokens are kept of each position.
// The rest of the probability counts as one class.
const topTokens = 64

// unlikely is the log-probability of what is never learnt.
const unlikely = -50

// rowsTogether is how many rows are observed before their examples are safe on disk.
const rowsTogether = 8

// observe has the uncut model run through the rows and keeps what a training learns
// from. first is the lowest trained layer, whose input is kept unless it is layer 0,
// which begins with the tokens. The rows are in the order of the training's own
// shuffling; an earlier try's are found again.
func observe(ctx context.Context, p Patient, name string, packed lessons.Packed, form examplesForm, first int, h plugin.Host, tell func(tokens int)) (*examples, error) {
	e, err := openExamples(filepath.Join(p.Folder, name), form)
	if err != nil {
		return nil, err
	}
	for i := range e.n {
		tell(filled(packed, i))
	}
	for e.n < len(packed.Rows) {
		if err := addRows(ctx, p, e, packed, min(rowsTogether, len(packed.Rows)-e.n), first, h, tell); err != nil {
			e.Close()
			return nil, err
		}
	}
	return e, nil
}

// filled is how many tokens of a row are those of documents.
func filled(p lessons.Packed, row int) (n int) {
	for _, i := range p.Rows[row].Pieces {
		n += len(p.Pieces[i].Tokens)
	}
	return n
}

// addRows observes the next rows.
func addRows(ctx context.Context, p Patient, e *examples, packed lessons.Packed, n, first int, h plugin.Host, tell func(int)) error {
	r := plugin.ObserveRequest{Model: p.Model.Name, Top: e.Top}
	if e.State {
		r.Points = append(r.Points, plugin.Point{Layer: first})
	}
	if e.Aim {
		r.Points = append(r.Points, plugin.Point{Layer: p.Layers})
	}
	var of []int // piece of each sequence
	rows := make([]repair.Example, n)
	for i := range rows {
		rows[i] = e.example(packed.Rows[e.n+i])
		for _, piece := range packed.Rows[e.n+i].Pieces {
			of = append(of, piece)
			r.Sequences = append(r.Sequences, packed.Pieces[piece].Tokens)
		}
	}
	base := e.n
	if len(r.Points) > 0 || r.Top > 0 {
		if err := h.Observe(ctx, r, func(o plugin.Observation) error {
			piece := packed.Pieces[of[o.Sequence]]
			tell(len(piece.Tokens))
			return e.lay(piece, o, rows[piece.Row-base])
		}); err != nil {
			return fmt.Errorf("observe the whole model: %w", err)
		}
	}
	for _, x := range rows {
		if err := e.add(x); err != nil {
			return err
		}
	}
	return e.sync()
}

// example is a row with room for what is observed.
func (e *examples) example(r lessons.Row) repair.Example {
	x := repair.Example{Tokens: r.Tokens, Segment: r.Segment, Position: r.Position, Target: r.Target, Weight: r.Weight}
	if e.State {
		x.State = make([]float32, e.Length*e.Hidden)
	}
	if e.Aim {
		x.Aim = make([]float32, e.Length*e.Hidden)
	}
	x.TopTokens, x.TopLogProb = make([]int32, e.Length*e.Top), make([]float32, e.Length*e.Top)
	for i := range x.TopLogProb {
		x.TopLogProb[i] = unlikely // where there is padding: probabilities must not add up to more than 1
	}
	return x
}

// lay puts what was observed of a piece into its example.
func (e *examples) lay(p lessons.Piece, o plugin.Observation, x repair.Example) error {
	states := o.States
	for _, into := range [][]float32{x.State, x.Aim} {
		if len(into) == 0 {
			continue
		}
		if err := lessons.Lay(p, e.Length, states[0], into); err != nil {
			return err
		}
		states = states[1:]
	}
	if e.Top == 0 {
		return nil
	}
	if err := lessons.Lay(p, e.Length, o.TopTokens, x.TopTokens); err != nil {
		return err
	}
	return lessons.Lay(p, e.Length, o.TopLogProb, x.TopLogProb)
}
