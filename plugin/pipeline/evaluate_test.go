package pipeline

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pare/plugin"
)

// request asks to judge the bench's model alone.
func (b *bench) request() plugin.EvaluateRequest {
	return plugin.EvaluateRequest{
		ID: "2", Folder: b.t.TempDir(), Profiles: b.job.Profile.Folder,
		Model: b.model.Name, Evaluate: b.job.Evaluate,
	}
}

func (b *bench) evaluate(r plugin.EvaluateRequest) (plugin.Evaluation, error) {
	b.events = nil
	return Pipeline{Version: "test"}.Evaluate(b.t.Context(), r, b, func(e plugin.Event) {
		b.events = append(b.events, e.Stage)
		if e.Completed > e.Total {
			b.t.Errorf("%d of %d tokens done", e.Completed, e.Total)
		}
	})
}

func (b *bench) mustEvaluate(r plugin.EvaluateRequest) plugin.Evaluation {
	b.t.Helper()
	e, err := b.evaluate(r)
	if err != nil {
		b.t.Fatal(err)
	}
	var kept plugin.Evaluation
	b.load(filepath.Join(r.Folder, "report.json"), &kept)
	if !reflect.DeepEqual(kept, e) {
		b.t.Errorf("report.json says %+v, not %+v", kept, e)
	}
	return e
}

// load reads JSON.
func (b *bench) load(path string, v any) {
	b.t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// near reports whether an estimate is about want.
func near(e *plugin.Estimate, want float64) bool {
	return e != nil && math.Abs(e.Value-want) < 0.06*want
}

// TestEvaluateAlone judges the model by itself.
func TestEvaluateAlone(t *testing.T) {
	b := newBench(t)
	e := b.mustEvaluate(b.request())
	if e.Level != plugin.LevelQuick || e.After != nil || e.Verdict != nil || e.Speed != nil || e.Generation != nil {
		t.Errorf("%+v", e)
	}
	if e.Before.Name != "tiny" || e.Before.Layers != modelLayers || e.Before.Footprint.Resident != 1000 || e.Before.Generation == 0 {
		t.Errorf("%+v", e.Before)
	}
	if all := e.Text[0]; all.Chunks != 3 || all.Tokens != 16 || all.Rise != nil || all.Before.Value < math.Exp(2) {
		t.Errorf("%+v", all)
	}
	if e.Tasks[0].Questions != 2 || e.Tasks[0].Change != nil {
		t.Errorf("%+v", e.Tasks[0])
	}
	if b.answers != 6 || slices.ContainsFunc(b.events, func(s string) bool { return s != "evaluate" }) {
		t.Errorf("%d answers, stages %q", b.answers, b.events)
	}
	if b.onlyOnce(t); len(b.runs) != 3+4 || len(b.scored("")) != 7 {
		t.Errorf("ran %v", b.runs)
	}
}

// TestEvaluateWithout judges the model without some layers.
func TestEvaluateWithout(t *testing.T) {
	b := newBench(t)
	r := b.request()
	r.Bypass = []int{2, 6}
	e := b.mustEvaluate(r)
	if a := e.After; a.Name != "tiny without 2,6" || a.Layers != modelLayers-2 || a.Bytes >= e.Before.Bytes || a.Parameters >= e.Before.Parameters ||
		!slices.Equal(a.Bypass, r.Bypass) || a.Footprint != nil {
		t.Errorf("%+v", a)
	}
	if !near(e.Text[0].Rise, 0.8) || !near(e.Text[0].KL, 0.8) || e.Verdict.Say != plugin.SayRepair {
		t.Errorf("rise %+v, KL %+v, verdict %+v", e.Text[0].Rise, e.Text[0].KL, e.Verdict)
	}
	if e.Tasks[0].Change == nil || len(e.Generation.Samples) != samples || e.Speed.Pairs != 6 {
		t.Errorf("%+v, %+v, %+v", e.Tasks[0], e.Generation, e.Speed)
	}
	runs := b.onlyOnce(t)
	r.Evaluate.Thresholds.KeepKL = 1
	if e := b.mustEvaluate(r); e.Verdict.Say != plugin.SayKeep || e.Verdict.Thresholds.KeepKL != 1 {
		t.Errorf("by other thresholds: %+v", e.Verdict)
	}
	if b.onlyOnce(t) != runs {
		t.Errorf("%d runs for it", len(b.runs)-runs)
	}
}

// TestEvaluateAgainstAnother judges what a job made. The job has scored it already.
func TestEvaluateAgainstAnother(t *testing.T) {
	b := newBench(t)
	made := b.mustPrune()
	runs := b.onlyOnce(t)
	r := b.request()
	r.Other = made.Result.Name
	e := b.mustEvaluate(r)
	if e.After.Digest != made.Result.Digest || e.After.Layers != modelLayers-2 || e.After.Footprint.Resident != 800 {
		t.Errorf("%+v", e.After)
	}
	if !near(e.Text[0].Rise, otherRise) || !reflect.DeepEqual(e.Text, made.Evaluation.Text) || !reflect.DeepEqual(e.Tasks, made.Evaluation.Tasks) {
		t.Errorf("%+v, the job said %+v", e.Text, made.Evaluation.Text)
	}
	if b.onlyOnce(t) != runs {
		t.Errorf("%d runs more", len(b.runs)-runs)
	}
}

// TestJobIsEvaluated holds the report of a job against the file that it made.
func TestJobIsEvaluated(t *testing.T) {
	b := newBench(t)
	r := b.mustPrune()
	e := r.Evaluation
	if r.Unmeasured != "" || e.After.ModelInfo != r.Result || e.Before.ModelInfo != r.Parent || e.Verdict == nil {
		t.Errorf("%+v of %+v", e, r)
	}
	if !near(e.Text[0].Rise, otherRise) || len(e.After.Bypass) > 0 || e.After.Footprint.KVPerToken >= e.Before.Footprint.KVPerToken {
		t.Errorf("%+v, %+v", e.Text[0], e.After)
	}
	if len(b.scored("cut.gguf")) != 7 { // 3 texts and 4 choices
		t.Errorf("the file that was cut was run on %q", b.scored("cut.gguf"))
	}
	var kept plugin.Report
	b.load(filepath.Join(b.job.Folder, "report.json"), &kept)
	if !reflect.DeepEqual(kept, r) {
		t.Errorf("report.json says %+v, not %+v", kept, r)
	}
	var measured plugin.Evaluation
	b.load(filepath.Join(b.job.Folder, "evaluation.json"), &measured)
	measured.After.Name = r.Result.Name // it had none in the store yet
	if !reflect.DeepEqual(measured, *e) || r.Result.Name != "small:latest" {
		t.Errorf("evaluation.json says %+v, not %+v", measured, e)
	}
}

// TestEvaluationIsFoundAgain has a job whose model is not registered at first. What
// was measured then stands, unless it was asked for otherwise.
func TestEvaluationIsFoundAgain(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bench)
		again  bool
	}{
		"alike":            {func(*bench) {}, false},
		"another level":    {func(b *bench) { b.job.Evaluate.Level = plugin.LevelFull }, true},
		"other thresholds": {func(b *bench) { b.job.Evaluate.Thresholds.KeepKL = 0.5 }, true},
		"lost":             {func(b *bench) { os.Remove(filepath.Join(b.job.Folder, "evaluation.json")) }, true},
	} {
		b := newBench(t)
		b.refusal = plugin.Errorf(plugin.Exists, "the name is taken")
		if _, err := b.prune(t.Context(), func(int) {}); plugin.KindOf(err) != plugin.Exists {
			t.Fatal(err)
		}
		b.refusal = nil
		c.change(b)
		if r := b.mustPrune(); r.Evaluation == nil {
			t.Errorf("%s: not evaluated", name)
		}
		if again := slices.Contains(b.events, "evaluate"); again != c.again {
			t.Errorf("%s: evaluated again: %v, want %v", name, again, c.again)
		}
		b.onlyOnce(t)
	}
}

// TestLevelNone measures nothing.
func TestLevelNone(t *testing.T) {
	b := newBench(t)
	b.job.Evaluate.Level = plugin.LevelNone
	b.job.Selection.Criterion = "angular"
	r := b.mustPrune()
	if r.Evaluation != nil || r.Unmeasured == "" || b.calls > 0 || slices.Contains(b.events, "evaluate") {
		t.Errorf("%+v, stages %q, %d calls", r, b.events, b.calls)
	}
}

// TestLevels runs more of Pare's own material the higher the level.
func TestLevels(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.request()
	r.Evaluate = plugin.Evaluate{}
	quick := b.mustEvaluate(r)
	answers := b.answers
	r.Evaluate.Level = plugin.LevelFull
	full := b.mustEvaluate(r)
	if quick.Tasks[0].Questions != 80 || answers != 6 {
		t.Errorf("quick: %d questions, %d answers", quick.Tasks[0].Questions, answers)
	}
	if full.Tasks[0].Questions <= 80 || b.answers-answers != 24 {
		t.Errorf("full: %d questions, %d answers", full.Tasks[0].Questions, b.answers-answers)
	}
	b.onlyOnce(t)
}

// TestEvaluateRefuses names what is wrong before anything is run.
func TestEvaluateRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bench, *plugin.EvaluateRequest)
		kind   plugin.Kind
		say    string
	}{
		"unknown model":   {func(_ *bench, r *plugin.EvaluateRequest) { r.Model = "none" }, plugin.NotFound, `"none"`},
		"another unknown": {func(_ *bench, r *plugin.EvaluateRequest) { r.Other = "none" }, plugin.NotFound, `"none"`},
		"no such layer":   {func(_ *bench, r *plugin.EvaluateRequest) { r.Bypass = []int{8} }, plugin.Invalid, "no layer 8"},
		"no layer left":   {func(_ *bench, r *plugin.EvaluateRequest) { r.Bypass = []int{0, 1, 2, 3, 4, 5, 6, 7} }, plugin.Invalid, "all 8 layers"},
		"level":           {func(_ *bench, r *plugin.EvaluateRequest) { r.Level = "deep" }, plugin.Invalid, `"deep"`},
		"thresholds":      {func(_ *bench, r *plugin.EvaluateRequest) { r.Thresholds.RepairLoss = 2 }, plugin.Invalid, "repair"},
		"empty text": {func(b *bench, r *plugin.EvaluateRequest) {
			r.Corpus = b.file(b.t.TempDir(), "empty.txt", "", " ")
		}, plugin.Invalid, "empty.txt"},
		"malformed question": {func(b *bench, r *plugin.EvaluateRequest) {
			r.Tasks = []plugin.Corpus{b.file(b.t.TempDir(), "bad.jsonl", `{"context": "a", "choices": ["b", "c"], "answer": 0}`, `{"context": 1}`)}
		}, plugin.Invalid, "line 2"},
	} {
		b := newBench(t)
		r := b.request()
		c.change(b, &r)
		_, err := b.evaluate(r)
		if err == nil || plugin.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.say) || len(b.runs) > 0 {
			t.Errorf("%s: kind %d, want %d; %d runs: %v", name, plugin.KindOf(err), c.kind, len(b.runs), err)
		}
		if left, _ := os.ReadDir(r.Folder); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

// TestASampleIsRecorded runs no more than the level takes, and says what it ran.
func TestASampleIsRecorded(t *testing.T) {
	b := newBench(t)
	folder := t.TempDir()
	var docs, lines []string
	for i := range 40 {
		docs = append(docs, ofWords(fmt.Sprintf("doc%d.", i), 200).Text)
	}
	for i := range 100 {
		lines = append(lines, fmt.Sprintf(`{"context": "number%d is", "choices": [" one", " two"], "answer": 0}`, i))
	}
	r := b.request()
	r.Evaluate.Corpus = b.corpus(folder, "long", docs...)
	r.Evaluate.Tasks = []plugin.Corpus{b.file(folder, "a.jsonl", lines[:95]...), b.file(folder, "b.jsonl", lines[95:]...)}
	e := b.mustEvaluate(r)
	if n := len(e.Corpora[0].Texts); n != e.Text[0].Chunks || n < 20 || n > 30 {
		t.Errorf("%d pieces are recorded, %d were scored", n, e.Text[0].Chunks)
	}
	for _, says := range []string{"a sample of the text was scored: 29 of 40 passages", "a sample of the questions was asked: 80 of 100"} {
		if !slices.Contains(e.Notes, says) {
			t.Errorf("notes %q, want %q", e.Notes, says)
		}
	}
	if len(e.Tasks) != 3 || e.Tasks[0].Questions != 80 || e.Tasks[2].Questions < 3 {
		t.Errorf("asked %+v", e.Tasks)
	}
	r.Level = plugin.LevelFull
	if e := b.mustEvaluate(r); len(e.Corpora[0].Texts) != 40 || e.Tasks[0].Questions != 100 {
		t.Errorf("in full: %+v, %+v", e.Corpora, e.Tasks[0])
	}
}

// TestBypassIsSorted refuses layers that are out of order, or named twice.
func TestBypassIsSorted(t *testing.T) {
	b := newBench(t)
	for _, bypass := range [][]int{{3, 2}, {2, 2}} {
		r := b.request()
		r.Bypass = bypass
		if _, err := b.evaluate(r); plugin.KindOf(err) != plugin.Invalid || b.calls > 0 {
			t.Errorf("bypass %v: %v", bypass, err)
		}
	}
}

// TestTheOtherFileIsNamed has the host run the very file that its scores are filed
// under.
func TestTheOtherFileIsNamed(t *testing.T) {
	b := newBench(t)
	made := b.mustPrune()
	r := b.request()
	r.Other, r.Evaluate.Corpus = made.Result.Name, b.corpus(t.TempDir(), "new", "some text not seen before")
	b.mustEvaluate(r)
	if len(b.digests) != 1 || b.digests[made.Result.Name] != made.Result.Digest {
		t.Errorf("asked for %v", b.digests)
	}
}
