package evaluate

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pare/plugin"
)

func value(v float64) *plugin.Estimate { return &plugin.Estimate{Value: v, Low: v, High: v} }

// tasks is a score of n questions with four choices.
func tasks(name string, n, both, lost, won int) plugin.TaskScore {
	t := tally{questions: n, right: both + lost, rightAfter: both + won, lost: lost, won: won, chance: float64(n) / 4}
	return t.score(name, true)
}

// smol is SmolLM2-135M without six layers: 44.5% to 27.5% of 200 questions.
func smol() *plugin.Evaluation {
	return &plugin.Evaluation{
		Text: []plugin.TextScore{
			{Style: All, Chunks: 20, KL: value(0.9), Agreement: value(0.47)},
			{Style: "prose", KL: value(0.7)}, {Style: "code", KL: value(1.2)},
			{Style: "arithmetic", KL: value(1.8)}, {Style: "letters", KL: value(1)},
		},
		Tasks: []plugin.TaskScore{tasks(All, 200, 42, 47, 13)},
	}
}

func TestVerdictOnSmolLM2(t *testing.T) {
	v := Judge(smol(), plugin.Thresholds{})
	const want = "KL 0.9 nats a token from the original model (keep: up to 0.1), the same next token 47% of the time, " +
		"right answers 44.5% before, 27.5% after (12.8% of those above chance left); worst in arithmetic (KL 1.8), code (KL 1.2)"
	if v.Say != plugin.SayRepair || v.Reason != want {
		t.Errorf("%s: %s", v.Say, v.Reason)
	}
	if v.Thresholds != Defaults {
		t.Errorf("thresholds %+v", v.Thresholds)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name  string
		kl    float64
		tasks plugin.TaskScore
		t     plugin.Thresholds
		say   string
	}{
		{"nothing lost", 0, tasks(All, 240, 120, 0, 0), plugin.Thresholds{}, plugin.SayKeep},
		{"at the threshold", 0.1, tasks(All, 240, 120, 0, 0), plugin.Thresholds{}, plugin.SayKeep},
		{"at the other threshold", 1, plugin.TaskScore{}, plugin.Thresholds{}, plugin.SayRepair},
		{"a loss within the noise", 0.05, tasks(All, 240, 110, 10, 3), plugin.Thresholds{}, plugin.SayKeep},
		{"a loss beyond doubt", 0.05, tasks(All, 240, 90, 30, 3), plugin.Thresholds{}, plugin.SayRepair},
		{"better after", 0.05, tasks(All, 240, 90, 3, 30), plugin.Thresholds{}, plugin.SayKeep},
		{"KL alone says repair", 0.11, tasks(All, 240, 120, 0, 0), plugin.Thresholds{}, plugin.SayRepair},
		{"KL alone says too much", 1.1, tasks(All, 240, 120, 0, 0), plugin.Thresholds{}, plugin.SayTooMuch},
		{"nothing above chance left", 0.5, tasks(All, 240, 40, 160, 10), plugin.Thresholds{}, plugin.SayTooMuch},
		{"guessing before", 0.5, tasks(All, 240, 20, 42, 10), plugin.Thresholds{}, plugin.SayRepair},
		{"few questions", 0.5, tasks(All, 8, 1, 5, 0), plugin.Thresholds{}, plugin.SayRepair},
		{"no tasks", 0.5, plugin.TaskScore{}, plugin.Thresholds{}, plugin.SayRepair},
		{"strict on KL", 0.05, plugin.TaskScore{}, plugin.Thresholds{KeepKL: 0.01}, plugin.SayRepair},
		{"stricter", 0.05, plugin.TaskScore{}, plugin.Thresholds{KeepKL: 0.01, RepairKL: 0.02}, plugin.SayTooMuch},
		{"lenient on tasks", 0.05, tasks(All, 240, 90, 30, 3), plugin.Thresholds{KeepLoss: 0.5}, plugin.SayKeep},
		{"strict on tasks", 0.05, tasks(All, 240, 90, 60, 3), plugin.Thresholds{RepairLoss: 0.3}, plugin.SayTooMuch},
	} {
		e := &plugin.Evaluation{Text: []plugin.TextScore{{KL: value(c.kl)}}, Tasks: []plugin.TaskScore{c.tasks}}
		v := Judge(e, c.t)
		if v.Say != c.say {
			t.Errorf("%s: %s: %s", c.name, v.Say, v.Reason)
		}
		if !strings.Contains(v.Reason, "arithmetic") || !strings.Contains(v.Reason, "code") || strings.Contains(v.Reason, "\n") {
			t.Errorf("%s: %s", c.name, v.Reason)
		}
		if c.tasks.Change == nil {
			if j := JudgeText(e.Text[0], c.t); j != v {
				t.Errorf("%s: by text alone %+v", c.name, j)
			}
		}
	}
}

// Of cuts that lose just what a threshold allows, few are to be called worse,
// and most of those that lose far more.
func TestLossesAreBeyondDoubt(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	called := func(base, allowed, lost float64) float64 {
		const trials, questions, before, won = 4000, 240, 0.45, 0.1
		gone := (lost*(before-base) + (1-before)*won) / before // of the right answers, before others are won
		n := 0
		for range trials {
			c := tally{chance: 0.25 * questions}
			for range questions {
				was := random.Float64() < before
				is := was && random.Float64() >= gone || !was && random.Float64() < won
				c.count(was, is)
			}
			if lostMore(c.score(All, true), allowed, base) {
				n++
			}
		}
		return float64(n) / trials
	}
	for _, c := range []struct{ base, allowed, lost, low, high float64 }{
		{0, 0.02, 0.02, 0.01, 0.04},
		{0, 0.02, 0.30, 0.9, 1},
		{0.25, 0.5, 0.5, 0.01, 0.04},
		{0.25, 0.5, 1, 0.8, 1},
	} {
		if got := called(c.base, c.allowed, c.lost); got < c.low || got > c.high {
			t.Errorf("%g lost where %g is allowed: called beyond doubt in %.3f", c.lost, c.allowed, got)
		}
	}
}

// Few questions that all end alike have no error by Wald's formulas, and are few
// all the same.
func TestFewQuestionsDoNotDecide(t *testing.T) {
	for _, c := range []struct {
		n, both, lost, won int
		keep, repair       bool // more is lost than 2%, and than 90% of those above chance
	}{
		{1, 0, 1, 0, false, false},
		{1, 1, 0, 0, false, false},
		{2, 0, 2, 0, false, false},
		{2, 0, 1, 1, false, false},
		{5, 0, 5, 0, true, false},
		{5, 4, 1, 0, false, false},
		{80, 0, 80, 0, true, true},
		{80, 77, 3, 0, false, false},
		{80, 40, 40, 0, true, false},
		{80, 0, 0, 80, false, false},
	} {
		s := tasks(All, c.n, c.both, c.lost, c.won)
		if lostMore(s, 0.02, 0) != c.keep || lostMore(s, 0.9, s.Chance) != c.repair {
			t.Errorf("of %d questions %d lost and %d won: %t and %t", c.n, c.lost, c.won, lostMore(s, 0.02, 0), lostMore(s, 0.9, s.Chance))
		}
	}
}

func TestVerdictNamesWhatSuffered(t *testing.T) {
	e := smol()
	e.Text = e.Text[:2]
	e.Tasks = append(e.Tasks, tasks("facts", 30, 20, 2, 2), tasks("code", 30, 2, 16, 0), tasks("reading", 30, 10, 10, 0))
	const want = "; worst in code (right answers 60% to 6.7%), reading (right answers 66.7% to 33.3%); as a rule arithmetic and code suffer first"
	if v := Judge(e, plugin.Thresholds{}); !strings.HasSuffix(v.Reason, want) {
		t.Errorf("%s", v.Reason)
	}
}

func TestVerdictOnOneModel(t *testing.T) {
	e := &plugin.Evaluation{Text: []plugin.TextScore{{Style: All}}, Tasks: Tasks([]Question{answered("code", 4, true)}, nil)}
	for _, v := range []plugin.Verdict{Judge(e, plugin.Thresholds{}), Judge(&plugin.Evaluation{}, plugin.Thresholds{})} {
		if v.Say != "" || v.Reason == "" {
			t.Errorf("%+v", v)
		}
	}
	e.Tasks = []plugin.TaskScore{tasks(All, 240, 90, 30, 3)}
	if v := Judge(e, plugin.Thresholds{}); v.Say != plugin.SayRepair {
		t.Errorf("by tasks alone: %+v", v)
	}
}

func TestThresholds(t *testing.T) {
	for _, good := range []plugin.Thresholds{{}, Defaults, {KeepKL: 1, RepairKL: 1}, {KeepLoss: 0.9, RepairLoss: 1}, {RepairKL: 50}} {
		if err := ValidateThresholds(good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for field, bad := range map[string]plugin.Thresholds{
		"keep_kl (--keep-kl) is -1":                               {KeepKL: -1},
		"keep_loss (--keep-loss) is NaN":                          {KeepLoss: math.NaN()},
		"repair_kl (--worth-kl) is +Inf":                          {RepairKL: math.Inf(1)},
		"repair_loss (--worth-loss) is 1.5":                       {RepairLoss: 1.5},
		"keep_kl (--keep-kl) 2 is above repair_kl (--worth-kl) 1": {KeepKL: 2},
		"keep_kl (--keep-kl) 0.1 is above repair_kl":              {RepairKL: 0.05},
		"keep_loss (--keep-loss) 0.02 is above repair_l":          {RepairLoss: 0.01},
	} {
		err := ValidateThresholds(bad)
		var e *plugin.Error
		if !errors.As(err, &e) || e.Kind != plugin.Invalid || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
