package heal

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"pare/convert"
	"pare/convert/quant"
	"pare/gguf"
	"pare/plugin"
	"pare/repair"
)

// What the closed form is fitted to, and what its ridge is chosen on.
const (
	fitTokens  = 32_768
	heldTokens = 4_096
)

// A fold is the closed form at one run of removed layers, ready to be written.
type fold struct {
	fit     plugin.LinearFit
	changes []convert.Change
	wider   map[string]gguf.TensorType // how some of them are stored
}

// fitRun finds the linear map for one run of removed layers, which have earlier ones
// before them that were dealt with: the last stage is the cut model with those maps in it.
func fitRun(ctx context.Context, p Patient, run [2]int, result *Result, docs documents, h plugin.Host, tell func(tokens int)) (fold, error) {
	current := result.Last().Path
	layer := renumber(run[0], p.Remove) - 1 // of the cut model, whose feed-forward takes the map up
	src, err := gguf.Open(current)
	if err != nil {
		return fold{}, fmt.Errorf("read the cut model: %w", err)
	}
	defer src.Close()
	down, err := convert.Foldable(src, layer)
	if err != nil {
		return fold{}, err
	}
	if run[0] == p.Remove[0] && result.beneath() == (Stage{}) {
		current = "" // below it nothing has changed
	}
	fit, err := moments(ctx, p, run, layer, current, docs.train.upTo(fitTokens), h, tell)
	if err != nil {
		return fold{}, err
	}
	held, err := moments(ctx, p, run, layer, current, docs.held.upTo(heldTokens), h, tell)
	if err != nil {
		return fold{}, err
	}
	found, err := repair.Fit(fit, held)
	if err != nil {
		return fold{}, err
	}
	out := fold{fit: plugin.LinearFit{Layer: layer, Tokens: fit.Tokens, Ridge: found.Ridge, Error: found.Error}}
	for _, t := range down {
		c, err := folded(src, t, found)
		if err != nil {
			return fold{}, err
		}
		out.changes = append(out.changes, c)
	}
	out.wider = convert.Wider(src, out.changes)
	return out, nil
}

// folded is what a tensor becomes with the map behind it. A bias has a row for each
// output, as a matrix with one column has.
func folded(src *gguf.File, t gguf.Tensor, found repair.Map) (convert.Change, error) {
	data, err := io.ReadAll(src.Data(t))
	if err != nil {
		return convert.Change{}, fmt.Errorf("read %s: %w", t.Name, err)
	}
	w, err := quant.Floats(t.Type, data)
	if err != nil {
		return convert.Change{}, fmt.Errorf("read %s: %w", t.Name, err)
	}
	in := int(t.Shape[0])
	c := convert.Change{Name: t.Name, Out: len(w) / in, In: in}
	if strings.HasSuffix(t.Name, ".bias") { // of one or of each expert
		width := found.D.Rows
		for row := range len(w) / width {
			bias, err := found.Fold(w[row*width:(row+1)*width], 1)
			if err != nil {
				return c, err
			}
			c.Dense = append(c.Dense, bias...)
		}
		return c, nil
	}
	c.Dense, err = found.Fold(w, in)
	return c, err
}

// moments runs documents through the uncut model and, unless current is "", through the
// model as it is by now, whose layer takes the map up.
func moments(ctx context.Context, p Patient, run [2]int, layer int, current string, docs []document, h plugin.Host, tell func(int)) (*repair.Moments, error) {
	aim := plugin.Point{Layer: run[1] + 1}
	here := func(layer int) []plugin.Point {
		return []plugin.Point{{Layer: layer, Attended: true}, {Layer: layer + 1}}
	}
	var m *repair.Moments
	add := func(d document, states [][]float32) error {
		if m == nil {
			m = repair.NewMoments(len(states[0]) / len(d))
		}
		tell(len(d))
		return m.Add(states[0], states[1], states[2], 1) // a first token is like no other
	}
	if current == "" {
		r := plugin.ObserveRequest{Model: p.Model.Name, Sequences: sequences(docs), Points: append(here(run[0]-1), aim)}
		err := h.Observe(ctx, r, func(o plugin.Observation) error { return add(docs[o.Sequence], o.States) })
		return m, err
	}
	for some := range slices.Chunk(docs, alternating) {
		aims := make([][]float32, len(some))
		r := plugin.ObserveRequest{Model: p.Model.Name, Sequences: sequences(some), Points: []plugin.Point{aim}}
		if err := h.Observe(ctx, r, func(o plugin.Observation) error { aims[o.Sequence] = o.States[0]; return nil }); err != nil {
			return nil, err
		}
		r.Variant, r.Points = plugin.Variant{Path: current}, here(layer)
		if err := h.Observe(ctx, r, func(o plugin.Observation) error {
			return add(some[o.Sequence], append(o.States, aims[o.Sequence]))
		}); err != nil {
			return nil, err
		}
	}
	return m, nil
}
