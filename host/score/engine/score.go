package engine

import (
	"context"
	"fmt"
	"math"

	"pare/host/score"
	"pare/plugin"
)

// A scoring is one request under way.
type scoring struct {
	*score.Score
	engine    *engine
	each      func(plugin.Score) error
	reference reference
	open      []plugin.Score // by variant, of a sequence that comes in pieces
}

// score runs sequences through variants, which are loaded. A group of sequences
// goes through the first variant, then through each other.
func (e *engine) score(ctx context.Context, r *score.Score, each func(plugin.Score) error) error {
	s := &scoring{Score: r, engine: e, each: each, open: make([]plugin.Score, len(r.Variants))}
	vocabulary := e.models[r.Variants[0].Path].handle.NumVocab()
	for i, q := range r.Sequences {
		if err := e.checkSequence(i, q, r.Variants, vocabulary); err != nil {
			return err
		}
	}
	most := math.MaxInt32
	if r.Compare && len(r.Variants) > 1 {
		most = max(1, e.keep/(4*vocabulary))
	}
	for _, group := range groups(r.Sequences, most) {
		if r.Compare && len(r.Variants) > 1 {
			s.reference.begin(group, vocabulary)
		}
		for v := range r.Variants {
			if err := s.run(ctx, v, group); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSequence checks what the server cannot know.
func (e *engine) checkSequence(i int, q plugin.Sequence, variants []score.Model, vocabulary int) error {
	for _, v := range variants {
		if err := e.models[v.Path].takes(len(q.Tokens)); err != nil {
			return fmt.Errorf("score sequence %d: %w", i, err)
		}
	}
	for at, t := range q.Tokens {
		if t < 0 || int(t) >= vocabulary {
			return plugin.Errorf(plugin.Invalid, "score sequence %d: token %d is %d; the vocabulary has 0 to %d", i, at, t, vocabulary-1)
		}
	}
	return nil
}

// run computes a group by one variant.
func (s *scoring) run(ctx context.Context, variant int, group []piece) error {
	how := s.Variants[variant]
	m := s.engine.models[how.Path]
	if err := s.engine.use(m, how.Bypass); err != nil {
		return err
	}
	m.forget(how.Bypass) // what comes out must not depend on the group before
	compared := 0
	for _, p := range group {
		out := &s.open[variant]
		// The token after the last needs no logits, so it is not computed.
		took, err := m.forward(ctx, p.tokens[:len(p.tokens)-1], p.from-1, func(at int, logits [][]float32) error {
			err := s.read(out, variant, compared, p.tokens[at+1:at+1+len(logits)], at+1, logits)
			compared += len(logits)
			return err
		})
		if err != nil {
			return err
		}
		if p.from > s.Sequences[p.sequence].From {
			took = took.of(p.scored()) // what comes before was counted with the pieces before
		}
		out.Computed += took.tokens
		out.Seconds += took.seconds
		if !p.last {
			continue
		}
		out.Sequence, out.Variant = p.sequence, variant
		if err := s.each(*out); err != nil {
			return err
		}
		*out = plugin.Score{}
	}
	return nil
}

// read adds to out what the logits say of tokens, the first of which is at the
// position at of its sequence; compared is the number of its row in the reference.
func (s *scoring) read(out *plugin.Score, variant, compared int, tokens []int32, at int, logits [][]float32) error {
	rows := read(logits)
	if variant == 0 {
		if err := unsound(rows, at); err != nil {
			return err
		}
	}
	for i, r := range rows {
		p := -float64(broken)
		if sound(r) {
			p = max(p, logProb(r, logits[i], tokens[i]))
		}
		out.LogProb = append(out.LogProb, float32(p))
	}
	if !s.Compare {
		return nil
	}
	if variant == 0 {
		if len(s.Variants) > 1 {
			s.reference.keep(rows, logits)
		}
		for range rows {
			out.KL, out.Agree = append(out.KL, 0), append(out.Agree, true)
		}
		return nil
	}
	kl := make([]float32, len(rows))
	spread(len(rows), func(i int) {
		if kl[i] = broken; !sound(rows[i]) {
			return
		}
		kl[i] = float32(min(broken, divergence(s.reference.at(compared+i, len(logits[i])), s.reference.rows[compared+i], logits[i], rows[i])))
	})
	out.KL = append(out.KL, kl...)
	for i, r := range rows {
		out.Agree = append(out.Agree, r.best == s.reference.rows[compared+i].best)
	}
	return nil
}

// unsound refuses a reference, the first variant, that computes nonsense: at is the
// position in the text of the first row's token. What is held against it may.
func unsound(rows []row, at int) error {
	for i, r := range rows {
		if !sound(r) {
			return plugin.Errorf(plugin.Refused, "score token %d of a sequence: its logits are not all finite; the model computes nonsense there", at+i)
		}
	}
	return nil
}
