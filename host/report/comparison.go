package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"pare/plugin"
	"pare/plugin/phrase"
)

// A Trial is one way to repair a cut model, and what it came to.
type Trial struct {
	Strategy string         `json:"strategy"`
	Report   *plugin.Report `json:"report,omitempty"`
	Seconds  float64        `json:"repair_seconds,omitempty"` // that the repair took, the answers it learns from not counted
	Failed   string         `json:"failed,omitempty"`         // why there is no report
}

// OfComparison is the page of several ways to repair the same cut. All were judged
// on the same text and questions.
func OfComparison(tried []Trial) *Page {
	return &Page{content: struct {
		Trials []Trial `json:"comparison"`
	}{tried}, document: comparisonDocument(tried)}
}

func comparisonDocument(tried []Trial) document {
	d := document{Kind: "Ways to repair"}
	s := section{Title: "What each is worth"}
	t := table{Align: "lrrrrrrr", Head: []string{"", "perplexity", "KL", "same token", "right", "kept", "time", "memory"}}
	for _, trial := range tried {
		t.Rows = append(t.Rows, trialRow(trial))
		switch r := trial.Report; {
		case r == nil:
			s.Notes = append(s.Notes, plain(trial.Strategy)+" failed: "+plain(trial.Failed))
		case r.Evaluation == nil:
			s.Notes = append(s.Notes, plain(trial.Strategy)+" was not measured: "+plain(r.Unmeasured))
		}
		if trial.Report != nil && len(d.Where) == 0 {
			d.Title = plain(trial.Report.Parent.Name)
			s.Text = against(*trial.Report)
			d.Where = comparedOn(*trial.Report)
		}
	}
	s.Tables = []table{t}
	s.After = []string{"perplexity: after / before; KL: nats a token from the uncut model; kept: share of the right answers before; time: of the repair alone; " +
		"memory: the most that training took. Intervals (±) are of 95%."}
	d.Banner = nearest(tried)
	return d.add(s)
}

// against tells what all trials are held against.
func against(r plugin.Report) []string {
	s := planSection(r).Text[:1]
	if e := r.Evaluation; e != nil && len(e.Text) > 0 {
		s = append(s, fmt.Sprintf("uncut: perplexity %s on %s in %s", pm(&e.Text[0].Before), phrase.Many(e.Text[0].Tokens, "token"), phrase.Many(int64(e.Text[0].Chunks), "chunk")))
		if len(e.Tasks) > 0 {
			s[1] += fmt.Sprintf("; %s of %s right, of which guessing gets %s",
				share(&e.Tasks[0].Before), phrase.Many(int64(e.Tasks[0].Questions), "question"), about(e.Tasks[0].Chance))
		}
	}
	return s
}

func comparedOn(r plugin.Report) []fact {
	facts := []fact{model("model", plugin.Measured{ModelInfo: r.Parent})}
	if e := r.Evaluation; e != nil {
		facts = append(facts, fact{"level", cmp.Or(plain(e.Level), plugin.LevelQuick)})
		facts = append(facts, corpora("text", e.Corpora)...)
		facts = append(facts, fact{"protocol", plain(e.Protocol)})
	}
	return facts
}

// trialRow leaves out what was not measured.
func trialRow(t Trial) []string {
	row := []string{clip(plain(t.Strategy), widest), none, none, none, none, none, none, none}
	if t.Report == nil {
		return row
	}
	if e := t.Report.Evaluation; e != nil {
		if len(e.Text) > 0 {
			all := e.Text[0]
			row[2], row[3] = pm(all.KL), share(all.Agreement)
			if all.Rise != nil {
				row[1] = "×" + half(ratio(*all.Rise))
			}
		}
		if len(e.Tasks) > 0 && e.Tasks[0].After != nil {
			all := e.Tasks[0]
			row[4], row[5] = share(all.After), about(all.After.Value/all.Before.Value)
		}
	}
	if t.Seconds > 0 {
		row[6] = time.Duration(t.Seconds * float64(time.Second)).Round(time.Second).String()
	}
	if r := t.Report.Repair; r != nil && r.Training != nil {
		row[7] = size(r.Training.PeakMemory)
	}
	return row
}

// nearest names the way whose result is nearest to the uncut model, and those that
// cannot be told from it by the intervals.
func nearest(tried []Trial) *banner {
	list := slices.DeleteFunc(slices.Clone(tried), func(t Trial) bool { return divergence(t) == nil })
	if len(list) == 0 {
		return &banner{Label: "Nothing was measured."}
	}
	slices.SortStableFunc(list, func(a, b Trial) int { return cmp.Compare(divergence(a).Value, divergence(b).Value) })
	best := divergence(list[0])
	b := &banner{Label: "Nearest to the uncut model:", Reason: fmt.Sprintf("%s, KL %s nats a token", plain(list[0].Strategy), pm(best))}
	var alike []string
	for _, t := range list[1:] {
		if divergence(t).Low <= best.High {
			alike = append(alike, plain(t.Strategy))
		}
	}
	if len(alike) > 0 {
		b.Reason += "; not told apart from it by their intervals: " + strings.Join(alike, ", ")
	}
	return b
}

// divergence is a trial's KL divergence from the uncut model over all text, or nil.
func divergence(t Trial) *plugin.Estimate {
	if t.Report == nil || t.Report.Evaluation == nil || len(t.Report.Evaluation.Text) == 0 {
		return nil
	}
	return t.Report.Evaluation.Text[0].KL
}
