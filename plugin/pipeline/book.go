package pipeline

import (
	"context"
	"fmt"
	"strings"

	"pare/plugin"
	"pare/plugin/evaluate"
	"pare/plugin/journal"
	"pare/plugin/layers"
)

// A trial is what one variant of a model made of one passage.
type trial struct {
	Passage string // id
	Variant string // name
	Sums    evaluate.Sums
	Whole   evaluate.Sums // of the whole model, run just before it
}

// A book is what scores.bin holds: every trial that was ever made with a model, so
// that none is made twice, by this job or a later one. An entry holds the trials of
// one passage.
type book struct {
	*journal.Journal[[]trial]
	known map[[2]string]trial // by passage and variant
}

// The number in the magic is to be raised with every change to how scores are
// computed, in an engine too: what was scored before cannot be compared then.
var bookForm = journal.Form[[]trial]{
	Name: "scores.bin", Magic: "PARESCO2", What: "record of scores",
	Valid: func(*[]trial) error { return nil },
}

func openBook(folder string) (*book, error) { return newBook(bookForm.Open(folder)) }

// readBook reads what was tried; nothing can be added.
func readBook(folder string) (*book, error) { return newBook(bookForm.Read(folder)) }

func newBook(j *journal.Journal[[]trial], err error) (*book, error) {
	if err != nil {
		return nil, err
	}
	b := &book{j, map[[2]string]trial{}}
	for _, e := range j.All {
		b.note(e.Value)
	}
	return b, nil
}

func (b *book) note(trials []trial) {
	for _, t := range trials {
		b.known[[2]string{t.Passage, t.Variant}] = t
	}
}

func (b *book) find(p passage, v variant) (trial, bool) {
	t, ok := b.known[[2]string{p.id, v.name}]
	return t, ok
}

// A variant is a way to run the model, under a name that is its own for ever.
type variant struct {
	name string
	plugin.Variant
}

// whole is the model as it is.
var whole = variant{}

// bypassing is the model without some layers.
func bypassing(remove []int) variant {
	return variant{layers.Format(remove), plugin.Variant{Bypass: remove}}
}

// together is how many passages are sent to the host at a time.
const together = 16

// score makes the trials that are missing, each variant against the whole model,
// and tells how many tokens were dealt with, known ones included.
func (b *book) score(ctx context.Context, h plugin.Host, m plugin.Model, vs []variant, ps []passage, tell func(tokens int64)) error {
	if len(vs) == 0 {
		vs = []variant{whole}
	}
	for len(ps) > 0 {
		missing := b.missing(ps[0], vs)
		n := 1
		for n < len(ps) && n < together && same(b.missing(ps[n], vs), missing) {
			n++
		}
		for _, p := range ps[:n] {
			tell(int64(len(p.Tokens) * (len(vs) - len(missing))))
		}
		if len(missing) > 0 {
			if err := b.try(ctx, h, m, missing, ps[:n], tell); err != nil {
				return err
			}
		}
		ps = ps[n:]
	}
	return nil
}

func (b *book) missing(p passage, vs []variant) (out []variant) {
	for _, v := range vs {
		if _, ok := b.find(p, v); !ok {
			out = append(out, v)
		}
	}
	return out
}

func same(a, b []variant) bool {
	names := func(vs []variant) string {
		var s strings.Builder
		for _, v := range vs {
			fmt.Fprintln(&s, v.name)
		}
		return s.String()
	}
	return names(a) == names(b)
}

// try runs variants on passages and keeps each passage's trials once all are made.
func (b *book) try(ctx context.Context, h plugin.Host, m plugin.Model, vs []variant, ps []passage, tell func(tokens int64)) error {
	r := plugin.ScoreRequest{Model: m.Name, Variants: []plugin.Variant{{}}, Compare: true}
	for _, v := range vs {
		if v.name != whole.name {
			r.Variants = append(r.Variants, v.Variant)
		}
	}
	withWhole := len(r.Variants) == len(vs) // it is asked for, and comes first anyway
	for _, p := range ps {
		r.Sequences = append(r.Sequences, p.Sequence)
	}
	made := make([][]evaluate.Sums, len(ps))
	got := make([]int, len(ps))
	return h.Score(ctx, r, func(s plugin.Score) error {
		i := s.Sequence
		if made[i] == nil {
			made[i] = make([]evaluate.Sums, len(r.Variants))
		}
		made[i][s.Variant] = evaluate.SumOf(s)
		if s.Variant > 0 || withWhole {
			tell(int64(len(ps[i].Tokens)))
		}
		if got[i]++; got[i] < len(r.Variants) {
			return nil
		}
		trials := []trial{{ps[i].id, whole.name, made[i][0], made[i][0]}}
		at := 1
		for _, v := range vs {
			if v.name != whole.name {
				trials = append(trials, trial{ps[i].id, v.name, made[i][at], made[i][0]})
				at++
			}
		}
		if err := b.Add(trials); err != nil {
			return err
		}
		b.note(trials)
		return nil
	})
}

// chunks pairs what the whole model and a variant made of passages that were
// scored, for package evaluate. Of the whole model alone there is no After.
func (b *book) chunks(ps []passage, v variant) []evaluate.Chunk {
	out := make([]evaluate.Chunk, len(ps))
	for i, p := range ps {
		t, _ := b.find(p, v)
		out[i] = evaluate.Chunk{Style: p.style, Before: t.Whole}
		if v.name != whole.name {
			out[i].After = &t.Sums
		}
	}
	return out
}
