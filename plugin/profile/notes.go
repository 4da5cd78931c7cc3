package profile

import (
	"fmt"
	"strings"

	"pare/plugin"
	"pare/plugin/layers"
	"pare/plugin/phrase"
)

// What it takes to trust a plan without a warning. A percentile interval from
// fewer than ten units is too narrow; on a few thousand tokens the best block
// changes from text to text.
const (
	enoughChunks = 10
	enoughTokens = 4000
	enoughRows   = 30   // output rows behind a last-token mean
	tied         = 0.05 // share of draws in which another set must win to be called as good
	lost         = 0.01 // share of the expected tokens that may be missing
)

// notes says what a person should know before trusting the plan.
func (r *request) notes(f *field, total *plugin.TraceDelta) []string {
	var notes []string
	if r.by.terms != nil {
		notes = append(notes, r.amount(f)...)
	}
	notes = append(notes, r.rivals(f)...)
	return append(notes, trouble(total)...)
}

// amount warns of too little text behind the chosen score, and of a score that
// is not the criterion's usual one.
func (r *request) amount(f *field) []string {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	s := f.sample
	lastGoes := r.remove != nil && r.remove[r.n-1] == r.layers-1
	switch {
	case s.tokens == 0:
		note("not scored: no token was traced")
		return notes
	case !f.scored:
		note("not scored: nothing was traced after the last layer, which is among those removed")
	case r.last && s.tokens < enoughRows:
		note("the last-token mean rests on %s and is mostly noise below %d: trace more texts or use all tokens",
			phrase.Many(s.tokens, "output row"), enoughRows)
	case lastGoes:
		note("the last layer goes too: its distance is known for %s only, of %s", phrase.Many(s.out, "output row"), phrase.Many(s.tokens, "token"))
	}
	if len(s.chunks) == 1 {
		note("one chunk of text: the interval is unknown, and another text may favour other layers")
	} else if len(s.chunks) < enoughChunks || !r.last && s.tokens < enoughTokens {
		note("little text: %s in %s; the interval is uncertain, and another text may favour other layers",
			phrase.Many(s.tokens, "token"), phrase.Many(int64(len(s.chunks)), "chunk"))
	}
	if n := len(layers.Runs(r.remove)); n > 1 && f.scored && r.by.name == "angular" {
		note("the layers form %d blocks: the score is the sum of their distances", n)
	}
	return notes
}

// rivals names the sets that are as good as the chosen one, or, where the
// selection named the layers, better.
func (r *request) rivals(f *field) []string {
	if !f.scored || len(f.others) == 0 {
		return nil
	}
	var notes []string
	if best := f.others[0]; best.score < f.chosen.score {
		note := fmt.Sprintf("%s would score better by %s, %.4g against %.4g", layers.Phrase(best.remove), r.by.name, best.score, f.chosen.score)
		if len(best.draws) > 0 && len(f.sample.chunks) > 1 {
			note += fmt.Sprintf(", in %.0f%% of resamplings", 100*best.beats(f.chosen))
		}
		notes = append(notes, note+"; the request names the layers, so they stay chosen")
	}
	var names []string
	for _, c := range f.others {
		if c.score >= f.chosen.score && c.beats(f.chosen) > tied {
			names = append(names, layers.Phrase(c.remove))
		}
	}
	more := ""
	if n := len(names); n > 3 {
		names, more = names[:3], fmt.Sprintf(" (and %d other choices)", n-3)
	}
	if len(names) > 0 {
		notes = append(notes, fmt.Sprintf("%s%s would be as good within the noise of this text", strings.Join(names, " or "), more))
	}
	return notes
}

// trouble tells of graphs that were not traced, or not in full, and of tokens
// that never came.
func trouble(total *plugin.TraceDelta) []string {
	var notes []string
	for _, f := range total.Faults {
		fate := "not traced:"
		if f.Counted {
			fate = "traced, but"
		}
		notes = append(notes, fmt.Sprintf("%s %s %s", phrase.Many(f.Graphs, "graph"), fate, f.Reason))
	}
	seen := total.All.Tokens + total.First.Tokens + total.LeftOut
	if missing := total.Expected - seen; float64(missing) > lost*float64(total.Expected) {
		notes = append(notes, fmt.Sprintf("%s of %d expected were not traced; a prompt that shares its beginning with an earlier one is not computed again",
			phrase.Many(missing, "token"), total.Expected))
	}
	return notes
}
