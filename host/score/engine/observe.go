package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pare/host/score"
	"pare/host/tap"
	"pare/plugin"
)

// observedBytes bounds what is told of one sequence.
const observedBytes = 1 << 30

// An observing is one request under way.
type observing struct {
	*score.Observe
	model  *model
	logits bool // of all tokens are computed
}

// observe runs sequences through a model that is loaded.
func (e *engine) observe(ctx context.Context, r *score.Observe, each func(plugin.Observation) error) (err error) {
	o := &observing{Observe: r, model: e.models[r.Model.Path]}
	// Behind the last layer's attention there is nothing of a token without logits.
	o.logits = r.Top > 0 || o.reaches(plugin.Point{Layer: o.model.layers - 1, Attended: true})
	if err := o.check(); err != nil {
		return err
	}
	if err := e.use(o.model, nil); err != nil {
		return err
	}
	if err := tap.Observe(r.Points, r.Top > 0); err != nil {
		return err
	}
	defer func() {
		o.model.forget(nil) // a pass may have ended before it was whole
		err = errors.Join(err, tap.Observe(nil, false))
	}()
	for i, tokens := range r.Sequences {
		out, err := o.run(ctx, tokens)
		if err != nil {
			return fmt.Errorf("observe sequence %d: %w", r.First+i, err)
		}
		out.Sequence = r.First + i
		if err := each(out); err != nil {
			return err
		}
	}
	return nil
}

// check checks what the server cannot know.
func (o *observing) check() error {
	vocabulary, hidden := o.model.handle.NumVocab(), o.model.handle.NEmbd()
	for _, p := range o.Points {
		if p.Layer > o.model.layers || p.Attended && p.Layer == o.model.layers {
			return plugin.Errorf(plugin.Invalid, "observe layer %d of %s: it has the layers 0 to %d, and x_%d behind them", p.Layer, o.model.name(), o.model.layers-1, o.model.layers)
		}
	}
	if o.Top > vocabulary {
		return plugin.Errorf(plugin.Invalid, "observe the %d most likely tokens: the vocabulary of %s has %d", o.Top, o.model.name(), vocabulary)
	}
	for i, tokens := range o.Sequences {
		i += o.First
		if err := o.model.takes(len(tokens)); err != nil {
			return fmt.Errorf("observe sequence %d: %w", i, err)
		}
		if bytes := 4 * len(tokens) * (hidden*len(o.Points) + 2*o.Top); bytes > observedBytes {
			return plugin.Errorf(plugin.Invalid, "observe sequence %d: that is %d MB; use shorter sequences, or fewer points", i, bytes>>20)
		}
		for at, t := range tokens {
			if t < 0 || int(t) >= vocabulary {
				return plugin.Errorf(plugin.Invalid, "observe sequence %d: token %d is %d; the vocabulary has 0 to %d", i, at, t, vocabulary-1)
			}
		}
	}
	return nil
}

// reaches reports whether a point, or one behind it, is asked for.
func (o *observing) reaches(point plugin.Point) bool {
	return slices.ContainsFunc(o.Points, func(p plugin.Point) bool {
		return p.Layer > point.Layer || p == point
	})
}

// run computes one sequence, batch by batch.
func (o *observing) run(ctx context.Context, tokens []int32) (plugin.Observation, error) {
	m, n := o.model, len(tokens)
	out := plugin.Observation{
		TopTokens: make([]int32, 0, n*o.Top), TopLogProb: make([]float32, 0, n*o.Top),
		States: make([][]float32, len(o.Points)),
	}
	for i := range out.States {
		out.States[i] = make([]float32, 0, n*m.handle.NEmbd())
	}
	m.forget(nil)
	first := n
	if o.logits {
		first = 0
	}
	var seconds time.Duration
	for at := 0; at < n; {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		end := min(at+m.batch.Size(), n)
		took, err := m.decode(tokens[at:end], at, first)
		if err != nil {
			return out, err
		}
		seconds += took
		if err := o.read(&out, at, end); err != nil {
			return out, err
		}
		at = end
	}
	out.Seconds = seconds.Seconds()
	return out, nil
}

// read adds to out what the batch of the tokens from at to end has computed.
func (o *observing) read(out *plugin.Observation, at, end int) error {
	if len(o.Points) > 0 {
		switch n, err := tap.Observed(out.States); {
		case errors.Is(err, tap.ErrNoRoom):
			return plugin.Errorf(plugin.Unavailable, "%w; free some", err)
		case err != nil:
			return plugin.Errorf(plugin.Unsupported, "%w", err)
		case n != end-at:
			return fmt.Errorf("%d of %d tokens were observed", n, end-at)
		}
		for i, x := range out.States {
			if from := at * len(x) / end; !finite(x[from:]) {
				return plugin.Errorf(plugin.Refused, "the residual stream at layer %d is not finite; the model computes nonsense there", o.Points[i].Layer)
			}
		}
	}
	if o.Top == 0 {
		return nil
	}
	return o.model.give(at, 0, end-at, func(at int, logits [][]float32) error {
		tokens, logProb, bad := likeliest(logits, o.Top)
		if bad >= 0 {
			return plugin.Errorf(plugin.Refused, "the logits of token %d are not all finite; the model computes nonsense there", at+bad)
		}
		out.TopTokens, out.TopLogProb = append(out.TopTokens, tokens...), append(out.TopLogProb, logProb...)
		return nil
	})
}

// finite reports whether no number is infinite or none.
func finite(x []float32) bool {
	var zero float32
	for _, v := range x {
		zero += v * 0
	}
	return zero == 0
}
