package evaluate

import (
	"slices"
	"strings"
	"testing"

	"pare/plugin"
)

func estimateOf(v, half float64) *plugin.Estimate {
	return &plugin.Estimate{Value: v, Error: half / 2, Low: v - half, High: v + half}
}

// healed is an evaluation with nothing to warn of.
func healed() *plugin.Evaluation {
	return &plugin.Evaluation{
		Text: []plugin.TextScore{{
			Style: All, Chunks: 40, Tokens: 10000,
			Before: *estimateOf(25.2, 2), After: estimateOf(35.1, 3), Rise: estimateOf(0.33, 0.03), KL: estimateOf(0.39, 0.03),
		}},
		Tasks:      []plugin.TaskScore{tasks(All, 240, 100, 20, 5)},
		Generation: &plugin.Generation{Prompts: 24, RepetitionBefore: 0.02, RepetitionAfter: 0.05},
	}
}

func TestNotes(t *testing.T) {
	if notes := Notes(healed()); notes != nil {
		t.Errorf("nothing to warn of: %q", notes)
	}
	kept := healed()
	kept.Text[0].KL = estimateOf(0.02, 0.02) // wide, but small all the same
	if notes := Notes(kept); notes != nil {
		t.Errorf("a KL that is small beyond doubt: %q", notes)
	}
	if notes := Notes(&plugin.Evaluation{}); notes != nil {
		t.Errorf("nothing measured: %q", notes)
	}
	for want, change := range map[string]func(*plugin.Evaluation){
		"one chunk of text":                  func(e *plugin.Evaluation) { e.Text[0].Chunks = 1 },
		"little text: 10,000 tokens in 9 ch": func(e *plugin.Evaluation) { e.Text[0].Chunks = 9 },
		"KL is only known to be between":     func(e *plugin.Evaluation) { e.Text[0].KL = estimateOf(0.39, 0.15) },
		"perplexity hardly rose, from 25.2": func(e *plugin.Evaluation) {
			e.Text[0].KL, e.Text[0].Rise = estimateOf(0.83, 0.05), estimateOf(0.15, 0.03)
		},
		"perplexity fell, from 25.2 to":   func(e *plugin.Evaluation) { e.Text[0].Rise = estimateOf(-0.1, 0.03) },
		"cannot show what was lost":       func(e *plugin.Evaluation) { e.Tasks[0] = tasks(All, 240, 40, 20, 5) },
		"few questions: with 40 the":      func(e *plugin.Evaluation) { e.Tasks[0] = tasks(All, 40, 25, 2, 2) },
		"the answers repeat themselves":   func(e *plugin.Evaluation) { e.Generation.RepetitionAfter = 0.4 },
		"3 of 24 answers in another lang": func(e *plugin.Evaluation) { e.Generation.LanguageChanged = 3 },
	} {
		e := healed()
		change(e)
		notes := Notes(e)
		if len(notes) != 1 || !strings.Contains(notes[0], want) {
			t.Errorf("%s: %q", want, notes)
		}
	}
}

// Speeds that vary from pair to pair are no measurement, steady ones are.
func TestSpeedNotes(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		noted     bool
	}{{1.1, 1.3, false}, {0.16, 2.6, true}, {0, 0, false}} {
		e := plugin.Evaluation{Speed: &plugin.SpeedRatio{Pairs: 6, Prompt: plugin.Range{Median: 1, Low: 1, High: 1}, Generation: plugin.Range{Low: c.low, High: c.high}}}
		if notes := Notes(&e); (len(notes) == 1) != c.noted {
			t.Errorf("%g to %g: %q", c.low, c.high, notes)
		}
	}
}

func TestTextNotesOfOneModel(t *testing.T) {
	s := plugin.TextScore{Style: All, Chunks: 3, Tokens: 1500, Before: *estimateOf(20, 9)}
	if notes := TextNotes(s); !slices.Equal(notes, []string{"little text: 1,500 tokens in 3 chunks; the intervals are uncertain themselves"}) {
		t.Errorf("%q", notes)
	}
}
