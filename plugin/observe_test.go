package plugin

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
)

// observing is a request with every field set, and its observations, the second
// sequence first: of two and three tokens by a model three wide.
func observing(t *testing.T) (ObserveRequest, []Observation) {
	t.Helper()
	r := filled[ObserveRequest](t)
	r.Sequences = [][]int32{{1, 128255}, {7, 8, 9}}
	r.Top = 2
	var out []Observation
	for i := len(r.Sequences) - 1; i >= 0; i-- {
		out = append(out, observed(r, i, 3))
	}
	return r, out
}

// observed answers for a sequence by a model that is hidden wide; no two numbers
// of it are equal.
func observed(r ObserveRequest, i, hidden int) Observation {
	n := len(r.Sequences[i])
	o := Observation{Sequence: i, Seconds: 0.25}
	random := rand.New(rand.NewPCG(uint64(i), 0))
	for range r.Points {
		x := make([]float32, n*hidden)
		for j := range x {
			x[j] = random.Float32()
		}
		o.States = append(o.States, x)
	}
	for j := range n * r.Top {
		o.TopTokens = append(o.TopTokens, int32(256000-j))
		o.TopLogProb = append(o.TopLogProb, -random.Float32())
	}
	return o
}

// observations is a host that answers every request with these.
func observations(of []Observation) lender {
	return lender{observe: func(_ context.Context, _ ObserveRequest, each func(Observation) error) error {
		for _, o := range of {
			if err := each(o); err != nil {
				return err
			}
		}
		return nil
	}}
}

// TestObservationsCross has every field set, and an observation larger than gRPC's
// usual limit: 512 tokens of a model 8192 wide at three points.
func TestObservationsCross(t *testing.T) {
	r, want := observing(t)
	large := ObserveRequest{Sequences: [][]int32{make([]int32, 512)}, Points: make([]Point, 3), Top: 64}
	for name, c := range map[string]struct {
		request ObserveRequest
		want    []Observation
	}{
		"filled": {r, want},
		"large":  {large, []Observation{observed(large, 0, 8192)}},
	} {
		h := observations(c.want)
		answer := h.observe
		h.observe = func(ctx context.Context, r ObserveRequest, each func(Observation) error) error {
			same(t, "ObserveRequest", r, c.request)
			return answer(ctx, r, each)
		}
		err := lendTo(t, h, func(ctx context.Context, h Host) error {
			next := 0
			return h.Observe(ctx, c.request, func(o Observation) error {
				if next < len(c.want) {
					same(t, "Observation", o, c.want[next])
				}
				next++
				return nil
			})
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFalseObservationsAreRefused answers with observations that would be misread.
func TestFalseObservationsAreRefused(t *testing.T) {
	for says, spoil := range map[string]func([]Observation) []Observation{
		"sequence -1 of 2":                    func(o []Observation) []Observation { o[1].Sequence = -1; return o },
		"sequence 2 of 2":                     func(o []Observation) []Observation { o[1].Sequence = 2; return o },
		"has 1 points, not 2":                 func(o []Observation) []Observation { o[1].States = o[1].States[:1]; return o },
		"0 numbers for 2 tokens":              func(o []Observation) []Observation { o[1].States[1] = nil; return o },
		"5 numbers for 2 tokens":              func(o []Observation) []Observation { o[1].States[0] = o[1].States[0][:5]; return o },
		"4 numbers for 2 tokens":              func(o []Observation) []Observation { o[1].States[1] = o[1].States[1][:4]; return o },
		"3 and 4 likely tokens":               func(o []Observation) []Observation { o[1].TopTokens = o[1].TopTokens[:3]; return o },
		"4 and 0 likely tokens":               func(o []Observation) []Observation { o[1].TopLogProb = nil; return o },
		"answered item 1 twice for variant 0": func(o []Observation) []Observation { o[1] = o[0]; return o },
		"left out 1 of 2 answers":             func(o []Observation) []Observation { return o[:1] },
	} {
		t.Run(says, func(t *testing.T) {
			r, of := observing(t)
			got := 0
			err := lendTo(t, observations(spoil(of)), func(ctx context.Context, h Host) error {
				return h.Observe(ctx, r, func(Observation) error { got++; return nil })
			})
			if err == nil || !strings.Contains(err.Error(), says) || got != 1 {
				t.Errorf("observe: %d handed on, %v", got, err)
			}
		})
	}
}

// TestTranscriptsCross has a chat of one message, one of none, and a long one.
func TestTranscriptsCross(t *testing.T) {
	long := Message{Role: "assistant", Content: strings.Repeat("long ", 1<<20)}
	chats := [][]Message{{{"user", "二"}}, nil, {{"system", "be brief"}, long}}
	want := []Transcript{
		{Tokens: []int32{1, 128255}, Answer: []bool{false, true}},
		{},
		{Tokens: make([]int32, 1<<20), Answer: make([]bool, 1<<20)},
	}
	h := lender{transcribe: func(_ context.Context, model string, got [][]Message) ([]Transcript, error) {
		same(t, "arguments", []any{model, got}, []any{"smollm2", chats})
		return want, nil
	}}
	err := lendTo(t, h, func(ctx context.Context, h Host) error {
		got, err := h.Transcribe(ctx, "smollm2", chats)
		same(t, "transcripts", got, want)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFalseTranscriptsAreRefused gives too few, and marks that fit no tokens.
func TestFalseTranscriptsAreRefused(t *testing.T) {
	for says, false := range map[string][]Transcript{
		"1 chats, asked for 2":            {{Tokens: []int32{1}, Answer: []bool{true}}},
		"2 tokens of chat 1, which has 1": {{}, {Tokens: []int32{1}, Answer: []bool{true, true}}},
	} {
		h := lender{transcribe: func(context.Context, string, [][]Message) ([]Transcript, error) { return false, nil }}
		err := lendTo(t, h, func(ctx context.Context, h Host) error {
			got, err := h.Transcribe(ctx, "", make([][]Message, 2))
			if got != nil {
				t.Errorf("they were handed on: %v", got)
			}
			return err
		})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("transcribe: %v, want %q", err, says)
		}
	}
}
