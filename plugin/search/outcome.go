package search

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"pare/plugin"
	"pare/plugin/layers"
	"pare/plugin/profile"
)

const (
	listed    = 5    // alternatives a plan shows
	resamples = 1000 // of the chunks, behind Candidate.Wins
	rival     = 0.05 // share of the resamples in which a set must win to be called as good
	enough    = 10   // chunks that a choice can be trusted on without a warning
)

// An outcome is a finished race, of a greedy search the last one.
type outcome struct {
	*race
	end        ending
	exhaustive int
	order      []string // in which a greedy search removed layers
}

// plan makes a plan of the outcome. whole is the model without any cut, run on
// as many chunks as the winner.
func (o *outcome) plan(in profile.Input, c profile.Choices, whole *row) plugin.Plan {
	chosen := o.running[0]
	rise := o.rise(chosen, chosen, whole)
	wins := o.wins()
	plan := plugin.Plan{
		Version: profile.Version, Model: in.Model, Layers: in.Layers,
		Criterion: c.Criterion, TokensUsed: "all", Tokens: o.judged(), Chunks: o.seen,
		Remove: chosen.remove, Chosen: candidate(chosen, rise, wins),
	}
	if c.Criterion == "auto" {
		plan.Profile = in.Trace
		if c.Last {
			plan.TokensUsed = "last"
		}
	}
	for _, v := range o.entered {
		if v != chosen && !v.broken() {
			plan.Alternatives = append(plan.Alternatives, candidate(v, o.rise(v, chosen, whole), wins))
		}
	}
	slices.SortStableFunc(plan.Alternatives, func(a, b plugin.Candidate) int { return cmp.Compare(a.Score, b.Score) })
	plan.Alternatives = plan.Alternatives[:min(listed, len(plan.Alternatives))]
	plan.Notes = slices.Concat(o.notes(c, plan), c.Notes)
	return plan
}

func candidate(v *row, rise plugin.Estimate, wins map[*row]float64) plugin.Candidate {
	return plugin.Candidate{Remove: v.remove, Score: rise.Value, Low: rise.Low, High: rise.High, Wins: wins[v]}
}

// judged is the number of tokens that the winner was judged by.
func (o *outcome) judged() int64 {
	sum := 0.0
	for _, n := range o.tokens[:o.seen] {
		sum += n
	}
	return int64(sum)
}

// wins is, for each set that ran to the end, the share of draws of as many chunks,
// with replacement, in which its loss was lowest. The seed is fixed.
func (o *outcome) wins() map[*row]float64 {
	random := rand.New(rand.NewPCG(2403, 17887))
	won := map[*row]int{}
	times := make([]float64, o.seen)
	for range resamples {
		clear(times)
		for range times {
			times[random.IntN(len(times))]++
		}
		best := slices.MinFunc(o.running, func(a, b *row) int { return cmp.Compare(weighted(a, times), weighted(b, times)) })
		won[best]++
	}
	wins := map[*row]float64{}
	for v, n := range won {
		wins[v] = float64(n) / resamples
	}
	return wins
}

// weighted is the loss on chunks drawn so many times each. All sets have the same
// tokens in them, so sums compare as means do.
func weighted(v *row, times []float64) float64 {
	sum := 0.0
	for i, n := range times {
		sum += n * v.nll[i]
	}
	return sum
}

// notes says what a person should know before trusting the plan.
func (o *outcome) notes(c profile.Choices, plan plugin.Plan) []string {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if n := len(o.chunks); n == 1 {
		note("one chunk of text: the interval is unknown, and another text may favour other layers")
	} else if n < enough {
		note("little text: %d chunks; the interval is uncertain, and another text may favour other layers", n)
	}
	if o.passes < o.exhaustive {
		note("tried in %d runs of the model, of the %d that running every cut on all of the text would take", o.passes, o.exhaustive)
	}
	rivals := o.rivals(plan)
	if rivals != "" {
		note("%s would be as good within the noise of this text", rivals)
	}
	switch uncertain := rivals != "" || o.seen < enough || plan.Chosen.Wins < 1-rival; {
	case uncertain && o.end == textEnded:
		note("all of the text was run and the winner is not certain: more text would tell")
	case uncertain && o.end == spent:
		note("stopped after %d runs and the winner is not certain: the criterion %q goes on", o.passes, "loss")
	}
	if at := slices.IndexFunc(c.Blocks, func(b []int) bool { return slices.Equal(b, plan.Remove) }); c.Criterion == "auto" && at >= shortlist(len(c.Blocks)) {
		note("by angular distance these layers are number %d of %d: the traced text may be unlike the text they were tried on", at+1, len(c.Blocks))
	}
	if len(o.order) > 1 {
		note("layers were removed in this order: %s", strings.Join(o.order, ", "))
	}
	return notes
}

// rivals names the sets that ran as far as the chosen one and won often enough.
func (o *outcome) rivals(plan plugin.Plan) string {
	var names []string
	for _, c := range plan.Alternatives {
		if c.Wins > rival {
			names = append(names, layers.Phrase(c.Remove))
		}
	}
	more := ""
	if n := len(names); n > 3 {
		names, more = names[:3], fmt.Sprintf(" (and %d other choices)", n-3)
	}
	return strings.Join(names, " or ") + more
}
