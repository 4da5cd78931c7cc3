package report

import (
	"fmt"
	"slices"

	"pare/plugin"
	"pare/plugin/layers"
	"pare/plugin/phrase"
)

// considered is how many of the sets that were not chosen are shown.
const considered = 5

// planSection tells which layers go and why, and what else there was.
func planSection(r plugin.Report) section {
	p := r.Plan
	fate := "go"
	switch {
	case r.DryRun:
		fate = "would go (dry run: no model was written)"
	case len(p.Remove) == 1:
		fate = "goes"
	}
	s := section{
		Title: "What goes",
		Text:  []string{fmt.Sprintf("%s: %s of %d %s", plain(r.Parent.Name), abridge(layers.Phrase(p.Remove), 60), p.Layers, fate)},
		Strip: strip(p),
		Notes: notes(p.Notes),
	}
	if !scored(p) {
		if p.Criterion == "deepest" && !p.Named {
			s.Text = append(s.Text, "chosen by deepest: the last layers but the very last, without a measurement")
		}
		return s
	}
	s.Text = append(s.Text, why(p))
	t := table{Caption: "Next best", Align: "lrrr", Head: []string{"removed", score(p.Criterion), "95% interval", "best in"}}
	for _, c := range p.Alternatives[:min(considered, len(p.Alternatives))] {
		d := digits(p.Criterion)
		t.Rows = append(t.Rows, []string{abridge(layers.Format(c.Remove), 40), fixed(c.Score, d), interval(c, d), wins(c)})
	}
	if len(t.Rows) > 0 {
		s.Tables = []table{t}
	}
	return s
}

// scored tells whether a plan rests on a measurement.
func scored(p plugin.Plan) bool {
	return p.Criterion != "deepest" && p.Tokens > 0 && (p.Chosen.Score != 0 || p.Chosen.High != p.Chosen.Low)
}

// byLoss tells whether a criterion's score is a rise of the log-loss.
func byLoss(criterion string) bool {
	return slices.Contains([]string{"auto", "loss", "greedy"}, criterion)
}

// score names what a criterion minimises.
func score(criterion string) string {
	switch {
	case byLoss(criterion):
		return "rise, nats a token"
	case criterion == "angular":
		return "angular distance"
	case criterion == "cumulative":
		return "sum of distances"
	case criterion == "influence":
		return "sum of influences"
	}
	return "score"
}

func digits(criterion string) int {
	if byLoss(criterion) {
		return 3
	}
	return 4
}

// why words the score of the chosen layers.
func why(p plugin.Plan) string {
	c, d := p.Chosen, digits(p.Criterion)
	what := score(p.Criterion) + " " + fixed(c.Score, d)
	if byLoss(p.Criterion) {
		what = "without them the log-loss changes by " + signed(c.Score, d) + " nats a token"
	}
	drawn := known(c.Low, c.High) // of one chunk there are no resamplings
	if drawn {
		what += fmt.Sprintf(" (95%%: %s)", interval(c, d))
	}
	by := "chosen by " + plain(p.Criterion)
	if p.Named {
		by = "named in the request"
	}
	s := fmt.Sprintf("%s: %s, on %s", by, what, phrase.Many(p.Tokens, "token"))
	if drawn && c.Wins > 0 {
		s += fmt.Sprintf("; best in %s of resamplings", about(c.Wins))
	}
	return s
}

func interval(c plugin.Candidate, digits int) string {
	if !known(c.Low, c.High) {
		return none
	}
	return fixed(c.Low, digits) + " to " + fixed(c.High, digits)
}

// wins is in what share of the resamplings a candidate was best.
func wins(c plugin.Candidate) string {
	if !known(c.Low, c.High) {
		return none
	}
	return about(c.Wins)
}

// strip tells of each layer whether the plan removes it; it is empty where the
// plan does not fit its own number of layers.
func strip(p plugin.Plan) []bool {
	if p.Layers < 1 || p.Layers > 512 {
		return nil
	}
	gone := make([]bool, p.Layers)
	for _, l := range p.Remove {
		if l < 0 || l >= p.Layers {
			return nil
		}
		gone[l] = true
	}
	return gone
}

// abridge cuts a long list of layers short.
func abridge(list string, columns int) string {
	if r := []rune(list); len(r) > columns {
		return string(r[:columns-1]) + "…"
	}
	return list
}
