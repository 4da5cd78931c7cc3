package heal

import (
	"context"
	"fmt"
	"io"
	"slices"

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
// before them that were dealt with: current is the cut model with those maps in it.
func fitRun(ctx context.Context, p Patient, run [2]int, current string, docs documents, h plugin.Host, tell func(tokens int)) (fold, error) {
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
	first := run[0] == p.Remove[0]
	fit, err := moments(ctx, p, run, layer, current, first, docs.train.upTo(fitTokens), h, tell)
	if err != nil {
		return fold{}, err
	}
	held, err := moments(ctx, p, run, layer, current, first, docs.held.upTo(heldTokens), h, tell)
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
	out.wider = wider(src, out.changes)
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
	width := found.D.Rows
	c := convert.Change{Name: t.Name, Out: len(w) / in, In: in}
	if len(t.Shape) == 1 || in == width && len(w)/in != width { // biases, of one or of each expert
		c.Out, c.In = len(w)/in, in
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

// moments runs documents through the uncut model and, for all runs but the first,
// through the model as it is by now.
func moments(ctx context.Context, p Patient, run [2]int, layer int, current string, first bool, docs []document, h plugin.Host, tell func(int)) (*repair.Moments, error) {
	before := plugin.Point{Layer: run[0] - 1, Attended: true}
	here := []plugin.Point{before, {Layer: run[0]}}
	aim := plugin.Point{Layer: run[1] + 1}
	r := plugin.ObserveRequest{Model: p.Model.Name, Sequences: sequences(docs), Points: append(slices.Clone(here), aim)}
	var m *repair.Moments
	add := func(o plugin.Observation) error {
		if m == nil {
			m = repair.NewMoments(len(o.States[0]) / len(r.Sequences[o.Sequence]))
		}
		tell(len(r.Sequences[o.Sequence]))
		return m.Add(o.States[0], o.States[1], o.States[2], docs[o.Sequence].first())
	}
	if first { // below it nothing has changed: one pass gives all
		err := h.Observe(ctx, r, add)
		return m, err
	}
	for _, q := range r.Sequences {
		both := plugin.Observation{States: make([][]float32, 3)}
		one := plugin.ObserveRequest{Model: p.Model.Name, Sequences: [][]int32{q}, Points: []plugin.Point{aim}}
		if err := h.Observe(ctx, one, func(o plugin.Observation) error { both.States[2] = o.States[0]; return nil }); err != nil {
			return nil, err
		}
		one.Variant = plugin.Variant{Path: current}
		one.Points = []plugin.Point{{Layer: layer, Attended: true}, {Layer: layer + 1}}
		if err := h.Observe(ctx, one, func(o plugin.Observation) error { copy(both.States, o.States); return nil }); err != nil {
			return nil, err
		}
		both.Sequence = slices.IndexFunc(r.Sequences, func(s []int32) bool { return &s[0] == &q[0] })
		if err := add(both); err != nil {
			return nil, err
		}
	}
	return m, nil
}
