package heal

import (
	"slices"
	"strings"
	"testing"

	"pare/plugin"
	"pare/repair"
)

func TestSettingsFollowTheRate(t *testing.T) {
	for _, c := range []struct {
		preset  string
		removed int
		rank    int
		rate    float64
		steps   int
	}{
		{"", 6, 32, 1e-3, 100},
		{"", 9, 32, 1e-3, 200},
		{"review", 6, 8, 1e-4, 150},
		{"review", 7, 8, 5e-5, 250},
		{"review", 12, 16, 5e-5, 400},
		{"review", 29, 16, 2e-5, 500},
	} {
		r, err := Settings(plugin.Repair{Preset: c.preset}, 30, c.removed)
		if err != nil {
			t.Fatal(err)
		}
		if r.Rank != c.rank || r.LearningRate != c.rate || r.Steps != c.steps || r.Method != plugin.RepairLinearQLoRA || r.Loss != plugin.LossDistill {
			t.Errorf("%q, %d of 30 removed: %+v", c.preset, c.removed, r)
		}
	}
	if r, err := Settings(plugin.Repair{Preset: "review", Steps: 75}, 30, 6); err != nil || r.WarmUp != 5 {
		t.Errorf("half the steps have a warm-up of %d, want half of 10: %v", r.WarmUp, err)
	}
	for _, method := range []string{plugin.RepairPartial, plugin.RepairFull} {
		if r, err := Settings(plugin.Repair{Method: method}, 30, 6); err != nil || r.LearningRate != 1e-4 {
			t.Errorf("%s has a learning rate of %v: %v", method, r.LearningRate, err)
		}
	}
	r, err := Settings(plugin.Repair{Rank: 4, Alpha: 4, Steps: 7, LearningRate: 1e-3}, 30, 6)
	if err != nil || r.Rank != 4 || r.Alpha != 4 || r.Steps != 7 || r.LearningRate != 1e-3 || r.WarmUp != 1 {
		t.Errorf("what was given is changed: %+v, %v", r, err)
	}
}

func TestSettingsRefuse(t *testing.T) {
	for want, r := range map[string]plugin.Repair{
		`no method "lora"`:   {Method: "lora"},
		`no loss "mse"`:      {Loss: "mse"},
		`no targets "q"`:     {Targets: "q"},
		`no preset "best"`:   {Preset: "best"},
		`layers is "top"`:    {Layers: "top"},
		`"window:0"`:         {Layers: "window:0"},
		"rank is -1":         {Rank: -1},
		"alpha is -2":        {Alpha: -2},
		"dropout is 1":       {Dropout: 1},
		"bits is 3":          {Bits: 3},
		"steps is -5":        {Steps: -5},
		"length is 8":        {Length: 8},
		"does not come in 3": {Accumulate: 3},
		"learning rate is 2": {LearningRate: 2},
		"batch is -1":        {Batch: -1},
		"clip is -1":         {Clip: -1},
	} {
		_, err := Settings(r, 30, 6)
		if err == nil || !strings.Contains(err.Error(), want) || plugin.KindOf(err) != plugin.Invalid {
			t.Errorf("%+v: %v, not %q", r, err, want)
		}
	}
}

func TestTrainedLayers(t *testing.T) {
	for _, c := range []struct {
		layers string
		remove []int
		want   []int
	}{
		{"above", []int{3, 4}, []int{2, 3, 4, 5}},
		{"above", []int{0, 1}, []int{0, 1, 2, 3, 4, 5}},
		{"all", []int{3, 4}, []int{0, 1, 2, 3, 4, 5}},
		{"window:1", []int{3, 4}, []int{2, 3}},
		{"window:1", []int{2, 6}, []int{1, 2, 4, 5}},
		{"window:9", []int{3, 4}, []int{0, 1, 2, 3, 4, 5}},
		{"above", []int{6, 7}, []int{5}},
	} {
		got, err := trained(plugin.Repair{Layers: c.layers}, 8, c.remove)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s of 8 without %v: %v, %v, not %v", c.layers, c.remove, got, err, c.want)
		}
	}
}

func TestRuns(t *testing.T) {
	if got := runs([]int{2, 3, 5, 8, 9}); !slices.Equal(got, [][2]int{{2, 3}, {5, 5}, {8, 9}}) {
		t.Errorf("runs are %v", got)
	}
}

// What an answer that was cut short would teach by its next tokens is to stop there.
func TestAnswersThatDidNotEnd(t *testing.T) {
	cut := answer{Prompt: "Why?", Text: "Because it"}
	for _, c := range []struct {
		form string
		loss string
		want bool
	}{{"chat", plugin.LossNext, false}, {"", plugin.LossNext, true}, {"chat", plugin.LossDistill, true}} {
		if got := (writing{form: c.form}).teaches(cut, c.loss); got != c.want {
			t.Errorf("form %q, loss %s: teaches %v", c.form, c.loss, got)
		}
	}
}

func TestStatusOfATraining(t *testing.T) {
	held := .49
	for want, step := range map[string]repair.Step{
		"training":                 {},
		"training: held out 0.490": {Held: &held},
		"training: loss 0.500":     {Step: 1, Loss: .5},
		"training: loss 0.500, held out 0.490, 400 tokens/s": {Step: 2, Loss: .5, Held: &held, Tokens: 1000, Seconds: 2.5},
	} {
		if got := status("training", step); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
