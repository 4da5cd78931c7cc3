package report

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"pare/plugin"
)

// spoken is what a job says on the terminal, in one line.
func spoken(t *testing.T, r plugin.Report) string {
	t.Helper()
	return strings.Join(strings.Fields(string(written(t, OfJob(r, nil), "txt"))), " ")
}

func TestRepairSaysWhatItDidNotDo(t *testing.T) {
	linear := repaired()
	linear.Repair.Training, linear.Repair.Merge, linear.Repair.Settings = nil, nil, plugin.Repair{Method: plugin.RepairLinear}
	linear.Repair.Stages = linear.Repair.Stages[1:3] // nothing to hold the perplexity against
	exact := repaired()
	exact.Repair.Merge.Promoted, exact.Repair.Training.Stopped, exact.Repair.Training.PeakMemory = nil, "", 0
	for name, c := range map[string]struct {
		report    plugin.Report
		want, not string
	}{
		"not repaired":    {job(), "Verdict", "Repair"},
		"nothing trained": {linear, "43.7% of the cut's error is left.", "Training:"},
		"no uncut stage":  {linear, "perplexity KL same next token cut 65.7 ± 4.6 0.902 ± 0.045", "× uncut"},
		"no wider type":   {exact, "96.3% of the gain in held-out loss is kept; every tensor keeps its type.", "wider"},
		"not stopped":     {exact, "in 6m12s, best after step 90 of 100.", "stopped early"},
	} {
		if got := spoken(t, c.report); !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
			t.Errorf("%s: want %q and not %q in\n%s", name, c.want, c.not, got)
		}
	}
}

// Many tensors in a wider type are counted, not listed.
func TestPromotedTensorsAreCutShort(t *testing.T) {
	m := plugin.Merge{Tensors: 9, Kept: .5, Promoted: []string{"a", "b", "c", "d", "e"}}
	if got := merged(m, true); !strings.HasSuffix(got, "5 are stored in a wider type than before: a; b; c and 2 more.") {
		t.Error(got)
	}
	m.Promoted = m.Promoted[:1]
	if got := merged(m, false); !strings.HasSuffix(got, "1 is stored in a wider type than before: a.") || strings.Contains(got, "gain") {
		t.Error(got)
	}
}

// The figure of a job that trained is its loss, of another one its heat map.
func TestFigureOfARepair(t *testing.T) {
	p := profile(30)
	svg := string(written(t, OfJob(repaired(), &p), "svg"))
	for _, want := range []string{"training what is left", "KL to the uncut model, nats", "held out", "kept: step 90"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the figure lacks %q", want)
		}
	}
	linear := repaired()
	linear.Repair.Training = nil
	if svg := string(written(t, OfJob(linear, &p), "svg")); strings.Contains(svg, "training what is left") {
		t.Error("nothing was trained, and a loss is drawn")
	}
	var b bytes.Buffer
	if err := OfJob(linear, nil).Write(&b, "svg"); !errors.Is(err, ErrNoFigure) {
		t.Errorf("neither a loss nor a profile: %v", err)
	}
}

// A training that went wrong at once, or at the first step, must not stop a figure.
func TestFiguresOfOddTrainings(t *testing.T) {
	held := math.Inf(1)
	for name, curve := range map[string][]plugin.TrainedStep{
		"one step":   {{Step: 1, Loss: 2}},
		"no number":  {{Step: 1, Loss: math.NaN(), Held: &held}},
		"exploded":   {{Step: 1, Loss: 2}, {Step: 2, Loss: 1e30}, {Step: 3, Loss: math.Inf(1)}},
		"below zero": {{Step: 1, Loss: -1e-9}, {Step: 2, Loss: 3}},
	} {
		r := plugin.Repaired{Training: &plugin.Training{Curve: curve}}
		var b bytes.Buffer
		if err := PlotTraining(&b, "svg", "tiny", r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("%s: a place that is no number", name)
		}
	}
}

// Before training there is a held-out loss alone: the curve of a step's loss begins at 1.
func TestNoLossBeforeTheFirstStep(t *testing.T) {
	before, after := .5, .4
	loss, held := losses([]plugin.TrainedStep{{Held: &before}, {Step: 1, Loss: .45, Held: &after}})
	if len(loss) != 1 || loss[0].x != 1 || loss[0].y != .45 {
		t.Errorf("losses of steps %v, want one, of step 1", loss)
	}
	if len(held) != 2 || held[0].x != 0 || held[0].y != before {
		t.Errorf("held-out losses %v, want two, the first before training", held)
	}
}

func TestComparisonNamesWhatCannotBeToldApart(t *testing.T) {
	b := nearest(trials())
	if b.Reason != "linear+qlora, KL 0.391 ± 0.020 nats a token; not told apart from it by their intervals: partial" {
		t.Error(b.Reason)
	}
	if b := nearest([]Trial{{Strategy: "full", Failed: "no room"}}); b.Label != "Nothing was measured." {
		t.Error(b)
	}
}
