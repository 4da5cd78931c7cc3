package evaluate

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"pare/plugin"
)

func TestSumOf(t *testing.T) {
	s := plugin.Score{
		LogProb: []float32{-1, -2.5, 0}, KL: []float32{0.5, 0.25, 0}, Agree: []bool{true, false, true},
		Computed: 7, Seconds: 0.5,
	}
	want := Sums{Tokens: 3, NLL: 3.5, Compared: true, KL: 0.75, Agree: 2, Computed: 7, Seconds: 0.5}
	if got := SumOf(s); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	s.KL, s.Agree = nil, nil
	if got := SumOf(s); got.Compared || got.KL != 0 || got.Tokens != 3 {
		t.Errorf("not compared: %+v", got)
	}
	if got := SumOf(plugin.Score{}); got != (Sums{}) {
		t.Errorf("no tokens: %+v", got)
	}
}

// pair is a chunk of n tokens at mean log-losses before and after.
func pair(style string, n int64, before, after, kl, agree float64) Chunk {
	N := float64(n)
	return Chunk{style, Sums{Tokens: n, NLL: N * before},
		&Sums{Tokens: n, NLL: N * after, Compared: true, KL: N * kl, Agree: int64(N * agree)}}
}

func TestTextWeightsTokensAndKeepsTheOrderOfStyles(t *testing.T) {
	scores := Text([]Chunk{
		pair("prose", 300, 2, 2.5, 0.4, 0.8),
		pair("code", 100, 1, 2, 1.2, 0.4),
		{Style: "empty", After: &Sums{}},
		pair("prose", 100, 3, 3.5, 0.6, 0.6),
	})
	var names []string
	for _, s := range scores {
		names = append(names, s.Style)
	}
	if !reflect.DeepEqual(names, []string{All, "prose", "code"}) {
		t.Fatal(names)
	}
	all := scores[0]
	if all.Chunks != 3 || all.Tokens != 500 {
		t.Errorf("all: %d chunks, %d tokens", all.Chunks, all.Tokens)
	}
	near(t, "perplexity before", all.Before.Value, math.Exp(1000.0/500))
	near(t, "perplexity after", all.After.Value, math.Exp(1300.0/500))
	near(t, "rise", all.Rise.Value, 0.6)
	near(t, "KL", all.KL.Value, 300.0/500)
	near(t, "agreement", all.Agreement.Value, 340.0/500)
	near(t, "rise in prose", scores[1].Rise.Value, 0.5)
	near(t, "KL in code", scores[2].KL.Value, 1.2)
	if code := scores[2]; code.KL.Error <= 0 || code.KL.Low != max(0, code.KL.Low) || code.Agreement.Low < 0 {
		t.Errorf("one chunk of code: %+v %+v", code.KL, code.Agreement)
	}
}

func TestSameModelTwice(t *testing.T) {
	var chunks []Chunk
	for i := range 8 {
		chunks = append(chunks, pair("prose", 100, float64(i), float64(i), 0, 1))
	}
	s := Text(chunks)[0]
	exact := func(v float64) *plugin.Estimate { return &plugin.Estimate{Value: v, Low: v, High: v} }
	if !reflect.DeepEqual(s.KL, exact(0)) || !reflect.DeepEqual(s.Rise, exact(0)) || !reflect.DeepEqual(s.Agreement, exact(1)) {
		t.Errorf("KL %+v, rise %+v, agreement %+v", s.KL, s.Rise, s.Agreement)
	}
	if *s.After != s.Before {
		t.Errorf("before %+v, after %+v", s.Before, s.After)
	}
	if v := JudgeText(s, plugin.Thresholds{}); v.Say != plugin.SayKeep {
		t.Errorf("%+v", v)
	}
}

// Between texts the loss differs far more than between the models.
func TestPairingSharpensTheRise(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var chunks []Chunk
	for range 20 {
		before := 3 + 0.5*random.NormFloat64()
		chunks = append(chunks, pair("prose", 512, before, before+0.1+0.01*random.NormFloat64(), 0.1, 0.9))
	}
	s := Text(chunks)[0]
	if s.Rise.Low <= 0.05 || s.Rise.High >= 0.15 {
		t.Errorf("rise %+v", s.Rise)
	}
	if s.After.Low > s.Before.High {
		t.Errorf("the perplexities alone should not tell the models apart: %+v %+v", s.Before, s.After)
	}
}

func TestTextOfOneModel(t *testing.T) {
	s := Text([]Chunk{{Style: "prose", Before: Sums{Tokens: 10, NLL: 20}}})
	if len(s) != 2 || s[0].After != nil || s[0].Rise != nil || s[0].KL != nil || s[0].Agreement != nil {
		t.Fatalf("%+v", s)
	}
	if want := (plugin.Estimate{Value: math.Exp(2), Low: math.Exp(2), High: math.Exp(2)}); s[0].Before != want {
		t.Errorf("one chunk: %+v", s[0].Before)
	}
}

func TestTextLeavesOutWhatWasNotMeasured(t *testing.T) {
	whole, half, alone := pair("a", 10, 1, 2, 0.5, 0.5), pair("b", 10, 1, 2, 0, 0), pair("c", 10, 1, 2, 0, 0)
	half.After.Compared = false
	alone.After.Tokens = 9
	s := Text([]Chunk{whole, half, alone})
	if s[0].After != nil || s[0].KL != nil {
		t.Errorf("all: %+v", s[0])
	}
	if s[1].KL == nil || s[2].KL != nil || s[2].Rise == nil || s[3].After != nil {
		t.Errorf("styles: %+v", s[1:])
	}
}

func TestTextWithoutTokens(t *testing.T) {
	if s := Text(nil); s != nil {
		t.Errorf("%+v", s)
	}
	if s := Text([]Chunk{{Style: "x"}}); s != nil {
		t.Errorf("%+v", s)
	}
}

// A model broken by a cut may find every token all but impossible.
func TestScoresOfBrokenModelsAreJSON(t *testing.T) {
	e := plugin.Evaluation{Text: Text([]Chunk{pair("a", 10, 2, 5000, 5000, 0), pair("a", 10, 2, 90, 90, 0)})}
	v := Judge(&e, plugin.Thresholds{})
	e.Verdict = &v
	if _, err := json.Marshal(e); err != nil {
		t.Error(err)
	}
	if v.Say != plugin.SayTooMuch {
		t.Errorf("%+v", v)
	}
}
