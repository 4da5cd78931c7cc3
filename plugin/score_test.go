package plugin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// lendTo has a plugin evaluate, which is to make these calls of h.
func lendTo(t *testing.T, h Host, calls func(context.Context, Host) error) error {
	t.Helper()
	p := across(t, pruner{evaluate: func(ctx context.Context, _ EvaluateRequest, h Host, _ func(Event)) (Evaluation, error) {
		return Evaluation{}, calls(ctx, h)
	}})
	_, err := p.Evaluate(t.Context(), EvaluateRequest{}, h, nil)
	return err
}

// scoring is a request with every field set, and its scores.
func scoring(t *testing.T) (ScoreRequest, []Score) {
	t.Helper()
	r := filled[ScoreRequest](t)
	var scores []Score
	for i := range r.Sequences {
		r.Sequences[i] = Sequence{Tokens: []int32{1, 128255, int32(i)}, From: 1}
		for v := range r.Variants {
			s := filled[Score](t) // of two tokens
			s.Sequence, s.Variant = i, v
			scores = append(scores, s)
		}
	}
	return r, scores
}

// asking is a request with every field set, and its answers.
func asking(t *testing.T) (GenerateRequest, []Answer) {
	t.Helper()
	r := filled[GenerateRequest](t)
	var answers []Answer
	for i := range r.Prompts {
		for v := range r.Variants {
			a := filled[Answer](t)
			a.Prompt, a.Variant = i, v
			answers = append(answers, a)
		}
	}
	return r, answers
}

// scores is a host that answers every request with these.
func scores(of []Score) lender {
	return lender{score: func(_ context.Context, _ ScoreRequest, each func(Score) error) error {
		for _, s := range of {
			if err := each(s); err != nil {
				return err
			}
		}
		return nil
	}}
}

// TestScoringCrosses makes each call of the scoring process with every field set.
func TestScoringCrosses(t *testing.T) {
	scoreRequest, scored := scoring(t)
	generateRequest, answers := asking(t)
	tokens := [][]int32{{1, 2, 3}, {1, 128255}}
	h := scores(scored)
	answer := h.score
	h.score = func(ctx context.Context, r ScoreRequest, each func(Score) error) error {
		same(t, "ScoreRequest", r, scoreRequest)
		return answer(ctx, r, each)
	}
	h.tokenize = func(_ context.Context, model string, texts []string) ([][]int32, error) {
		same(t, "arguments", []any{model, texts}, []any{"smollm2", []string{"a", "二"}})
		return tokens, nil
	}
	h.generate = func(_ context.Context, r GenerateRequest, each func(Answer) error) error {
		same(t, "GenerateRequest", r, generateRequest)
		for _, a := range answers {
			if err := each(a); err != nil {
				return err
			}
		}
		return nil
	}
	h.footprint = func(_ context.Context, model string, v Variant) (Footprint, error) {
		same(t, "arguments", []any{model, v}, []any{"smollm2", filled[Variant](t)})
		return filled[Footprint](t), nil
	}
	h.floats = func(_ context.Context, kind uint32, data []byte) ([]float32, error) {
		same(t, "arguments", []any{kind, data}, []any{uint32(22), []byte{1, 2, 3}})
		return []float32{0.5, -2}, nil
	}
	err := lendTo(t, h, func(ctx context.Context, h Host) error {
		got, err := h.Tokenize(ctx, "smollm2", []string{"a", "二"})
		same(t, "tokens", []any{got, err}, []any{tokens, nil})
		var gotScores []Score
		err = h.Score(ctx, scoreRequest, func(s Score) error { gotScores = append(gotScores, s); return nil })
		same(t, "scores", []any{gotScores, err}, []any{scored, nil})
		var gotAnswers []Answer
		err = h.Generate(ctx, generateRequest, func(a Answer) error { gotAnswers = append(gotAnswers, a); return nil })
		same(t, "answers", []any{gotAnswers, err}, []any{answers, nil})
		footprint, err := h.Footprint(ctx, "smollm2", filled[Variant](t))
		same(t, "Footprint", []any{footprint, err}, []any{filled[Footprint](t), nil})
		floats, err := h.Floats(ctx, 22, []byte{1, 2, 3})
		same(t, "floats", []any{floats, err}, []any{[]float32{0.5, -2}, nil})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestScoreAlone sends a score that is held against no other: that it was not
// must be seen.
func TestScoreAlone(t *testing.T) {
	r := ScoreRequest{Variants: make([]Variant, 1), Sequences: []Sequence{{Tokens: []int32{1, 2}, From: 1}}}
	sent := Score{LogProb: []float32{-1}}
	err := lendTo(t, scores([]Score{sent}), func(ctx context.Context, h Host) error {
		return h.Score(ctx, r, func(s Score) error {
			same(t, "Score", s, sent)
			if s.KL != nil || s.Agree != nil {
				t.Errorf("it is compared: %v, %v", s.KL, s.Agree)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMuchTextCrosses sends more than gRPC's usual limit of 4 MB: texts, their
// tokens, and those tokens to be scored.
func TestMuchTextCrosses(t *testing.T) {
	texts := slices.Repeat([]string{strings.Repeat("long ", 1<<17)}, 16)
	tokens := make([][]int32, len(texts))
	var scored []Score
	for i := range tokens {
		tokens[i] = make([]int32, 1<<17)
		for j := range tokens[i] {
			tokens[i][j] = int32(256000 - j)
		}
		n := len(tokens[i]) - 1
		scored = append(scored, Score{Sequence: i, LogProb: make([]float32, n), KL: make([]float32, n), Agree: make([]bool, n)})
	}
	h := scores(scored)
	h.tokenize = func(context.Context, string, []string) ([][]int32, error) { return tokens, nil }
	err := lendTo(t, h, func(ctx context.Context, h Host) error {
		got, err := h.Tokenize(ctx, "", texts)
		if err != nil {
			return err
		}
		r := ScoreRequest{Variants: make([]Variant, 1), Compare: true}
		for _, tokens := range got {
			r.Sequences = append(r.Sequences, Sequence{Tokens: tokens, From: 1})
		}
		var back []Score
		err = h.Score(ctx, r, func(s Score) error { back = append(back, s); return nil })
		same(t, "scores", len(back), len(scored))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFalseScoresAreRefused answers with scores that would be misread.
func TestFalseScoresAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func([]Score) []Score
		alone bool // asked for without Compare
		says  string
	}{
		"sequence below 0":       {spoil: func(s []Score) []Score { s[3].Sequence = -1; return s }, says: "sequence -1 of 2"},
		"sequence above":         {spoil: func(s []Score) []Score { s[3].Sequence = 2; return s }, says: "sequence 2 of 2"},
		"variant below 0":        {spoil: func(s []Score) []Score { s[3].Variant = -1; return s }, says: "variant -1 of 2"},
		"variant above":          {spoil: func(s []Score) []Score { s[3].Variant = 2; return s }, says: "variant 2 of 2"},
		"few log-probabilities":  {spoil: func(s []Score) []Score { s[3].LogProb = nil; return s }, says: "0 log-probabilities"},
		"few divergences":        {spoil: func(s []Score) []Score { s[3].KL = s[3].KL[:1]; return s }, says: "1 divergences"},
		"many agreements":        {spoil: func(s []Score) []Score { s[3].Agree = make([]bool, 3); return s }, says: "3 agreements"},
		"compared without being": {spoil: func(s []Score) []Score { return s }, alone: true, says: "not 2, 0 and 0"},
		"not a number":           {spoil: func(s []Score) []Score { s[3].LogProb[1] = float32(math.NaN()); return s }, says: "by variant 1 holds a NaN"},
		"infinite divergence":    {spoil: func(s []Score) []Score { s[3].KL[0] = float32(math.Inf(1)); return s }, says: "holds a +Inf"},
		"tokens below 0":         {spoil: func(s []Score) []Score { s[3].Computed = -1; return s }, says: "-1 tokens computed"},
		"time below 0":           {spoil: func(s []Score) []Score { s[3].Seconds = -1; return s }, says: "in -1 seconds"},
		"endless time":           {spoil: func(s []Score) []Score { s[3].Seconds = math.Inf(1); return s }, says: "in +Inf seconds"},
		"one twice":              {spoil: func(s []Score) []Score { s[3].Variant = 0; return s }, says: "answered item 1 twice for variant 0"},
		"one missing":            {spoil: func(s []Score) []Score { return s[:3] }, says: "left out 1 of 4 answers"},
	} {
		t.Run(name, func(t *testing.T) {
			r, scored := scoring(t)
			r.Compare = !c.alone
			err := lendTo(t, scores(c.spoil(scored)), func(ctx context.Context, h Host) error {
				return h.Score(ctx, r, func(s Score) error {
					if s.Sequence == 1 && s.Variant == 1 || c.alone {
						t.Errorf("it was handed on: %+v", s)
					}
					return nil
				})
			})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("score: %v, want %q", err, c.says)
			}
		})
	}
}

// TestFalseAnswersAreRefused answers prompts that were not asked, and not all that
// were.
func TestFalseAnswersAreRefused(t *testing.T) {
	for says, spoil := range map[string]func([]Answer) []Answer{
		"prompt -1 of 2":                      func(a []Answer) []Answer { a[3].Prompt = -1; return a },
		"prompt 2 of 2":                       func(a []Answer) []Answer { a[3].Prompt = 2; return a },
		"variant -1 of 2":                     func(a []Answer) []Answer { a[3].Variant = -1; return a },
		"variant 2 of 2":                      func(a []Answer) []Answer { a[3].Variant = 2; return a },
		"-1 tokens, to":                       func(a []Answer) []Answer { a[3].Tokens = -1; return a },
		"to -1 of the prompt":                 func(a []Answer) []Answer { a[3].PromptTokens = -1; return a },
		"took NaN seconds":                    func(a []Answer) []Answer { a[3].Seconds = math.NaN(); return a },
		"took -1 seconds":                     func(a []Answer) []Answer { a[3].PromptSeconds = -1; return a },
		"answered item 0 twice for variant 1": func(a []Answer) []Answer { a[3].Prompt = 0; return a },
		"left out 1 of 4 answers":             func(a []Answer) []Answer { return a[:3] },
	} {
		t.Run(says, func(t *testing.T) {
			r, answers := asking(t)
			h := lender{generate: func(_ context.Context, _ GenerateRequest, each func(Answer) error) error {
				for _, a := range spoil(answers) {
					if err := each(a); err != nil {
						return err
					}
				}
				return nil
			}}
			got := 0
			err := lendTo(t, h, func(ctx context.Context, h Host) error {
				return h.Generate(ctx, r, func(Answer) error { got++; return nil })
			})
			if err == nil || !strings.Contains(err.Error(), says) || got != 3 {
				t.Errorf("generate: %d answers, %v", got, err)
			}
		})
	}
}

// TestFalseTokensAreRefused gives tokens of fewer texts than were sent.
func TestFalseTokensAreRefused(t *testing.T) {
	h := lender{tokenize: func(context.Context, string, []string) ([][]int32, error) { return [][]int32{{1}}, nil }}
	err := lendTo(t, h, func(ctx context.Context, h Host) error {
		got, err := h.Tokenize(ctx, "smollm2", []string{"one", "two"})
		if got != nil {
			t.Errorf("they were handed on: %v", got)
		}
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "tokens of 1 texts, asked for 2") {
		t.Errorf("tokenize: %v", err)
	}
}

// scoringCalls are the calls of a Host that run in the scoring process.
var scoringCalls = map[string]func(context.Context, Host) error{
	"tokenize": func(ctx context.Context, h Host) error {
		_, err := h.Tokenize(ctx, "", nil)
		return err
	},
	"score":   func(ctx context.Context, h Host) error { return h.Score(ctx, ScoreRequest{}, nil) },
	"observe": func(ctx context.Context, h Host) error { return h.Observe(ctx, ObserveRequest{}, nil) },
	"transcribe": func(ctx context.Context, h Host) error {
		_, err := h.Transcribe(ctx, "", nil)
		return err
	},
	"generate": func(ctx context.Context, h Host) error { return h.Generate(ctx, GenerateRequest{}, nil) },
	"footprint": func(ctx context.Context, h Host) error {
		_, err := h.Footprint(ctx, "", Variant{})
		return err
	},
	"floats": func(ctx context.Context, h Host) error {
		_, err := h.Floats(ctx, 0, nil)
		return err
	},
}

// failing is a host whose scoring process does as fail does.
func failing(fail func(context.Context) error) lender {
	return lender{
		tokenize:   func(ctx context.Context, _ string, _ []string) ([][]int32, error) { return nil, fail(ctx) },
		score:      func(ctx context.Context, _ ScoreRequest, _ func(Score) error) error { return fail(ctx) },
		observe:    func(ctx context.Context, _ ObserveRequest, _ func(Observation) error) error { return fail(ctx) },
		transcribe: func(ctx context.Context, _ string, _ [][]Message) ([]Transcript, error) { return nil, fail(ctx) },
		generate:   func(ctx context.Context, _ GenerateRequest, _ func(Answer) error) error { return fail(ctx) },
		footprint:  func(ctx context.Context, _ string, _ Variant) (Footprint, error) { return Footprint{}, fail(ctx) },
		floats:     func(ctx context.Context, _ uint32, _ []byte) ([]float32, error) { return nil, fail(ctx) },
	}
}

// TestScoringErrorsCross has each call fail in each way.
func TestScoringErrorsCross(t *testing.T) {
	for what, call := range scoringCalls {
		for kind := Internal; kind <= Unsupported; kind++ {
			sent := &Error{Kind: kind, Err: fmt.Errorf("error of kind %d", kind), Hint: "do something"}
			err := lendTo(t, failing(func(context.Context) error { return sent }), call)
			if err == nil || KindOf(err) != kind || err.Error() != sent.Error() || errors.Is(err, ErrLost) {
				t.Errorf("%s: kind %d, %v; sent was kind %d, %v", what, KindOf(err), err, kind, sent)
			}
		}
	}
}

// TestScoringIsCancelled cancels an evaluation and a sweep in each call. All three
// sides hear of it.
func TestScoringIsCancelled(t *testing.T) {
	for what, call := range scoringCalls {
		var plugin error
		note := func(ctx context.Context, h Host) error { plugin = call(ctx, h); return plugin }
		p := across(t, pruner{
			evaluate: func(ctx context.Context, _ EvaluateRequest, h Host, _ func(Event)) (Evaluation, error) {
				return Evaluation{}, note(ctx, h)
			},
			sweep: func(ctx context.Context, _ SweepRequest, h Host, _ func(Event)) (Sweep, error) {
				return Sweep{}, note(ctx, h)
			},
		})
		for from, start := range map[string]func(context.Context, Host) error{
			"evaluate": func(ctx context.Context, h Host) error {
				_, err := p.Evaluate(ctx, EvaluateRequest{}, h, nil)
				return err
			},
			"sweep": func(ctx context.Context, h Host) error {
				_, err := p.Sweep(ctx, SweepRequest{}, h, nil)
				return err
			},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			var host error
			err := start(ctx, failing(func(ctx context.Context) error {
				cancel()
				<-ctx.Done()
				host = ctx.Err()
				return host
			}))
			for who, err := range map[string]error{"caller": err, "plugin": plugin, "host": host} {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%s in %s: %s heard %v", what, from, who, err)
				}
			}
		}
	}
}

// TestScoringEnds has the plugin refuse a score: the host stops, and the plugin
// gets its own error back.
func TestScoringEnds(t *testing.T) {
	r, scored := scoring(t)
	enough := errors.New("enough")
	stopped := make(chan error, 1)
	h := lender{score: func(ctx context.Context, _ ScoreRequest, each func(Score) error) error {
		if err := each(scored[0]); err != nil {
			return err
		}
		<-ctx.Done()
		stopped <- ctx.Err()
		return ctx.Err()
	}}
	err := lendTo(t, h, func(ctx context.Context, h Host) error {
		err := h.Score(ctx, r, func(Score) error { return enough })
		if !errors.Is(err, enough) {
			t.Errorf("score: %v", err)
		}
		if err := <-stopped; !errors.Is(err, context.Canceled) {
			t.Errorf("the host heard %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
