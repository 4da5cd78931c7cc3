package engine

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pare/host/score"
	"pare/integration/tinymodel"
	"pare/plugin"
)

var prompts = []string{
	"the light", "of two bodies", "red", "the rays which make blue are more refrangible than those which make red",
	"a", "bodies and light " + strings.Repeat("act upon one another ", 30), "the sun", "colours",
}

// answerAll opens the model and has it answer prompts numbered from 0, which come back by number.
func answerAll(t *testing.T, e *engine, a score.Answers, texts []string) []plugin.Answer {
	t.Helper()
	a.Model.Threads = 1
	for i, text := range texts {
		a.Prompts = append(a.Prompts, score.Prompt{Number: i, Text: text})
	}
	if _, err := e.open([]score.Model{a.Model}, 0, false); err != nil {
		t.Fatal(err)
	}
	out := make([]plugin.Answer, len(texts))
	told := 0
	err := e.together(context.Background(), &a, func(answer plugin.Answer) error {
		told++
		out[answer.Prompt] = answer
		return nil
	})
	if err != nil || told != len(texts) {
		t.Fatalf("%d answers to %d prompts, error %v", told, len(texts), err)
	}
	return out
}

// tied is a lead, in logits, that rounding may turn: some processors round a batch
// otherwise than a token.
const tied = 0.005

// lead is the least by which the most likely token led the next one in the answer that
// the model has just given.
func lead(t *testing.T, m *model, prompt int) float64 {
	t.Helper()
	tokens, least := slices.Clone(m.held), math.Inf(1)
	m.forget(m.bypass)
	_, err := m.forward(t.Context(), tokens, prompt-1, func(_ int, logits [][]float32) error {
		for _, l := range logits {
			top := slices.Sorted(slices.Values(l))
			least = min(least, float64(top[len(top)-1]-top[len(top)-2]))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return least
}

// TestTogether compares answers given three at a time with those given one by one, in
// models of several kinds of caches. A stop string that some of them come to has them
// end one after another, with and without prompts that wait.
func TestTogether(t *testing.T) {
	for _, c := range []struct {
		architecture string
		bypass       []int
	}{{"llama", nil}, {"llama", []int{2, 3, 6}}, {"gemma3", nil}, {"qwen3", []int{1}}} {
		path, e := tiny(t, c.architecture, 1), newTestEngine(t)
		m := score.Model{Path: path, Bypass: c.bypass}
		whole, _ := answer(t, e, score.Generation{Model: m, Prompt: prompts[0], MaxTokens: 20})
		text := []rune(whole.Text)
		stop := []string{string(text[len(text)/2:][:2])}
		var want []plugin.Answer
		var decided []bool
		stopped := 0
		for _, p := range prompts {
			a, _ := answer(t, e, score.Generation{Model: m, Prompt: p, MaxTokens: 20, Stop: stop})
			want = append(want, a)
			decided = append(decided, lead(t, e.models[path], a.PromptTokens) > tied)
			if a.Ended {
				stopped++
			}
		}
		if stopped == 0 || stopped == len(prompts) {
			t.Fatalf("%s: %d answers ended early, want some", c.architecture, stopped)
		}
		got := answerAll(t, e, score.Answers{Model: m, MaxTokens: 20, Stop: stop, Parallel: 3}, prompts)
		if n := e.models[path].sequences; n != 3 {
			t.Errorf("%s: %d at a time, want 3", c.architecture, n)
		}
		sure := 0
		for i := range got {
			if !decided[i] {
				continue
			}
			sure++
			if got[i].Text != want[i].Text || got[i].Tokens != want[i].Tokens || got[i].Ended != want[i].Ended || got[i].PromptTokens != want[i].PromptTokens {
				t.Errorf("%s without %v: together %+v, alone %+v", c.architecture, c.bypass, got[i], want[i])
			}
		}
		if sure < len(prompts)/2 {
			t.Errorf("%s: %d answers are nowhere undecided, want half of them", c.architecture, sure)
		}
	}
}

// TestSeeds draws the same answers again, whichever others are asked for, and others
// with another seed or number.
func TestSeeds(t *testing.T) {
	path, e := tiny(t, "llama", 1), newTestEngine(t)
	a := score.Answers{Model: score.Model{Path: path}, MaxTokens: 16, Parallel: 4, Sampling: score.Sampling{Temperature: 1, Seed: 7}}
	texts := func(all []plugin.Answer) (out []string) {
		for _, a := range all {
			out = append(out, a.Text)
		}
		return out
	}
	same := slices.Repeat([]string{"the light"}, 6)
	first := texts(answerAll(t, e, a, same))
	if again := texts(answerAll(t, e, a, same)); !slices.Equal(first, again) {
		t.Errorf("answers %q, and %q with the same seed", first, again)
	}
	if few := texts(answerAll(t, e, a, same[:2])); !slices.Equal(first[:2], few) {
		t.Errorf("answers %q, and %q where others were asked for too", few, first[:2])
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(first)))); n < 5 {
		t.Errorf("%d different answers of 6 to the same prompt: %q", n, first)
	}
	a.Sampling.Seed = 99
	if other := texts(answerAll(t, e, a, same)); slices.Equal(first, other) {
		t.Errorf("the same answers %q with another seed", other)
	}
}

// TestScoreAfterAnswers has a model answer many at a time and then score: nothing of the
// one is left for the other.
func TestScoreAfterAnswers(t *testing.T) {
	path, e := tiny(t, "llama", 1), newTestEngine(t)
	m := score.Model{Path: path}
	request := score.Score{Variants: []score.Model{m}, Sequences: []plugin.Sequence{random(1, 40)}}
	want := mustAsk(t, e, request)[0].LogProb
	answerAll(t, e, score.Answers{Model: m, MaxTokens: 8, Parallel: 4}, prompts)
	if got := mustAsk(t, e, request)[0].LogProb; !slices.Equal(got, want) {
		t.Errorf("log-probabilities %v, and %v before", got, want)
	}
	if n := e.models[path].sequences; n != 1 {
		t.Errorf("a context for %d sequences is kept", n)
	}
}

// TestTogetherSpeechless has no token follow where none has a probability.
func TestTogetherSpeechless(t *testing.T) {
	b, err := tinymodel.New(tinymodel.Config{Architecture: "llama", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, spoil(t, b))
	for _, a := range answerAll(t, newTestEngine(t), score.Answers{Model: score.Model{Path: path}, MaxTokens: 8, Parallel: 2}, prompts[:3]) {
		if a.Tokens != 0 || a.Ended || a.Text != "" || a.PromptTokens == 0 {
			t.Errorf("answer %+v by a model that computes no numbers", a)
		}
	}
}

// TestTogetherEnds stops between two tokens, and where an answer is not taken.
func TestTogetherEnds(t *testing.T) {
	path, e := tiny(t, "llama", 1), newTestEngine(t)
	a := score.Answers{Model: score.Model{Path: path, Threads: 1}, MaxTokens: 400, Parallel: 2}
	for i, text := range prompts[:4] {
		a.Prompts = append(a.Prompts, score.Prompt{Number: i, Text: text})
	}
	if _, err := e.open([]score.Model{a.Model}, 0, false); err != nil {
		t.Fatal(err)
	}
	full, told := errors.New("full"), 0
	err := e.together(context.Background(), &a, func(plugin.Answer) error { told++; return full })
	if !errors.Is(err, full) || told != 1 {
		t.Errorf("error %v after %d answers", err, told)
	}
	ctx, cancel := context.WithCancel(context.Background())
	told = 0
	err = e.together(ctx, &a, func(plugin.Answer) error { told++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || told < 1 || told > 2 {
		t.Errorf("error %v after %d answers", err, told)
	}
	a.Prompts[3].Text = strings.Repeat("light ", 5000)
	err = e.together(context.Background(), &a, func(plugin.Answer) error { told++; return nil })
	if plugin.KindOf(err) != plugin.Invalid || !strings.Contains(err.Error(), "prompt 3") || told > 2 {
		t.Errorf("error %v of a prompt that is too long", err)
	}
}

// TestAbreast bounds the memory of a context.
func TestAbreast(t *testing.T) {
	path, e := tiny(t, "llama", 1), newTestEngine(t)
	if _, err := e.open([]score.Model{{Path: path, Threads: 1}}, 0, false); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		asked, length int
		kv            int64
		want          int
	}{
		{16, 400, 1 << 10, 16},
		{16, 4000, 1 << 10, 8},    // 32768 / 4096 tokens
		{16, 400, 1 << 20, 8},     // 4 GiB / (512 x 1 MiB)
		{16, 1 << 20, 1 << 10, 1}, // too much for two
	} {
		m := *e.models[path]
		m.kvPerToken = c.kv
		if got := m.abreast(c.asked, c.length); got != c.want {
			t.Errorf("%d of %d tokens of %d bytes: %d at a time, want %d", c.asked, c.length, c.kv, got, c.want)
		}
	}
}
