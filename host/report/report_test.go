package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"pare/plugin"
)

func TestTextAdmitsWhatWasNotMeasured(t *testing.T) {
	for reason, want := range map[string]string{
		"":                           "Quality was not measured: it was not asked for.",
		"the scorer would not start": "Quality was not measured: the scorer would not start",
	} {
		r := job()
		r.Evaluation, r.Unmeasured = nil, reason
		var b bytes.Buffer
		if err := Text(&b, r); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) || strings.Contains(b.String(), "Verdict") || strings.Contains(b.String(), "perplexity") {
			t.Errorf("%q: want %q, no verdict and no perplexity in\n%s", reason, want, b.String())
		}
	}
}

func TestVerdictIsTheLastLineOfAJob(t *testing.T) {
	r := job()
	r.Evaluation.Verdict = &plugin.Verdict{Say: plugin.SayKeep, Reason: "KL 0.02"}
	var b bytes.Buffer
	if err := Text(&b, r); err != nil || !strings.HasSuffix(b.String(), "\n\nVerdict: keep. KL 0.02\n") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

func TestPlanSaysWhatItRestsOn(t *testing.T) {
	for _, c := range []struct {
		criterion string
		score     float64
		tokens    int64
		want, not string
	}{
		{"auto", .957, 12288, "changes by +0.957 nats a token (95%: 0.921 to 0.993), on 12,288 tokens", "angular"},
		{"greedy", -.01, 9, "changes by -0.010 nats a token", "angular"},
		{"angular", .957, 12288, "chosen by angular: angular distance 0.9570 (95%: 0.9210 to 0.9930)", "nats"},
		{"cumulative", .957, 12288, "sum of distances 0.9570", "nats"},
		{"influence", .957, 12288, "sum of influences 0.9570", "nats"},
		{"deepest", .957, 12288, "without a measurement", "0.957"},
		{"auto", .957, 0, "layers 13-18 of 30 go", "chosen by"}, // layers named by hand
	} {
		r := job()
		r.Evaluation = nil
		r.Plan.Criterion, r.Plan.Chosen.Score, r.Plan.Tokens = c.criterion, c.score, c.tokens
		var b bytes.Buffer
		if err := Text(&b, r); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(b.String()), " ")
		if !strings.Contains(text, c.want) || strings.Contains(text, c.not) {
			t.Errorf("%s: want %q and not %q in\n%s", c.criterion, c.want, c.not, b.String())
		}
	}
}

// One chunk of text has no interval, and a set given up early never won.
func TestPlanOfOneChunk(t *testing.T) {
	r := job()
	c := &r.Plan.Chosen
	c.Low, c.High, c.Wins = c.Score, c.Score, 0
	text := strings.Join(strings.Fields(string(written(t, OfJob(r, nil), "txt"))), " ")
	if !strings.Contains(text, "by +0.957 nats a token, on 12,288 tokens Next best") {
		t.Error(text)
	}
}

// A dry run can be evaluated: the model is run without the layers.
func TestDryRunThatWasEvaluated(t *testing.T) {
	r := job()
	r.DryRun, r.Result = true, plugin.ModelInfo{}
	r.Evaluation.After.Bypass, r.Evaluation.After.Name = r.Plan.Remove, whole.Name
	text := string(written(t, OfJob(r, nil), "txt"))
	for _, want := range []string{"would go", "without 13-18", "×2.60", "Verdict: repair first."} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestNothingMeasuredIsShownAsANumber(t *testing.T) {
	e := evaluation()
	e.Text[0].KL, e.Text[1].After, e.Tasks[1].After, e.Tasks[1].Change = nil, nil, nil, nil
	e.Text[2].Rise.Value = math.NaN()
	e.Before.Footprint, e.Speed, e.Generation = nil, nil, nil
	for _, format := range []string{"txt", "md", "html"} {
		text := string(written(t, OfEvaluation(e), format))
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || strings.Contains(text, "nil") {
			t.Errorf("%s:\n%s", format, text)
		}
	}
	for _, p := range []*Page{OfJob(plugin.Report{}, nil), OfEvaluation(plugin.Evaluation{}), OfSweep(plugin.Sweep{})} {
		written(t, p, "txt")
		written(t, p, "html")
	}
}

func TestSeedsThatDifferAreAveraged(t *testing.T) {
	s := sweep(30, 3)
	c := cuts(s)[0]
	if c.Criterion != "auto" || c.Removed != 3 || c.Others != 1 {
		t.Fatalf("%+v", c)
	}
	var rises []float64
	for _, p := range s.Points {
		if p.Criterion == "auto" && len(p.Remove) == 3 {
			rises = append(rises, p.Text[0].Rise.Value)
		}
	}
	want := math.Exp((rises[0] + rises[1] + rises[2]) / 3)
	if math.Abs(c.Ratio.Median-want) > 1e-12 || math.Abs(c.Ratio.Low-math.Exp(rises[0])) > 1e-12 || math.Abs(c.Ratio.High-math.Exp(rises[1])) > 1e-12 {
		t.Errorf("%+v, want %v from %v", c.Ratio, want, rises)
	}
	s.Points[10].Verdict.Say = plugin.SayTooMuch // of another seed
	c = cuts(plugin.Sweep{Points: s.Points[9:12]})[0]
	if c.Say != plugin.SayTooMuch {
		t.Errorf("the verdict %q hides the worst", c.Say)
	}
}

func TestSweepWithNothingInTolerance(t *testing.T) {
	s := sweep(30, 1)
	s.Best, s.Tolerance = nil, .01
	text := string(written(t, OfSweep(s), "txt"))
	if !strings.Contains(text, "no cut that was tried raises the perplexity by at most 1%") {
		t.Error(text)
	}
}

func TestJSONIsTheReport(t *testing.T) {
	var got plugin.Sweep
	if err := json.Unmarshal(written(t, OfSweep(sweep(30, 1)), "json"), &got); err != nil || len(got.Points) != 20 {
		t.Errorf("%v, %d points", err, len(got.Points))
	}
}

func TestFormats(t *testing.T) {
	for format, want := range map[string]string{"json": "application/json", "html": "text/html; charset=utf-8", "png": "image/png"} {
		if got, ok := ContentType(format); !ok || got != want {
			t.Errorf("%s: %q, %v", format, got, ok)
		}
	}
	if _, ok := ContentType("exe"); ok {
		t.Error("exe has a type")
	}
	var b bytes.Buffer
	if err := OfEvaluation(evaluation()).Write(&b, "svg"); !errors.Is(err, ErrNoFigure) || b.Len() > 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
	if err := OfEvaluation(evaluation()).Write(&b, "exe"); err == nil || b.Len() > 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
}

// A profile that cannot be drawn must not leave half a page.
func TestBrokenProfileLeavesNoPage(t *testing.T) {
	p := profile(30)
	p.All.Distance = p.All.Distance[:3]
	var b bytes.Buffer
	if err := OfJob(job(), &p).Write(&b, "html"); err == nil || b.Len() > 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000", .0321: "0.032", .9996: "1.00", 1.316: "1.32", 25.21: "25.2", 99.96: "100", 398.2: "398",
		12345.6: "12,346", -1234: "-1,234", 3e9: "3e+09", math.Inf(1): none, math.NaN(): none} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
	if got := signed(-.0001, 1) + signed(.26, 1); got != "0.0+0.3" {
		t.Error(got)
	}
}
