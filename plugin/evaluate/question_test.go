package evaluate

import (
	"math/rand/v2"
	"testing"

	"pare/plugin"
)

func TestPickDividesByBytes(t *testing.T) {
	q := Question{Choices: []ScoredChoice{{LogProb: -4, Bytes: 2}, {LogProb: -6, Bytes: 12}, {LogProb: -6, Bytes: 12}}}
	if q.Pick() != 1 {
		t.Errorf("picks %d", q.Pick())
	}
	if p := (Question{Choices: []ScoredChoice{{LogProb: -1}, {LogProb: -0.5}}}).Pick(); p != 1 {
		t.Errorf("choices of white space: picks %d", p)
	}
}

// answered is a question with the given number of choices, answered right or
// wrong.
func answered(kind string, choices int, right bool) Question {
	q := Question{Name: kind, Choices: make([]ScoredChoice, choices), Answer: 1}
	for i := range q.Choices {
		q.Choices[i] = ScoredChoice{LogProb: -10, Tokens: 2, Bytes: 8}
	}
	if right {
		q.Choices[1].LogProb = -5
	}
	return q
}

func TestTasksByHand(t *testing.T) {
	var before, after []Question
	add := func(kind string, choices, n int, was, is bool) {
		for range n {
			before, after = append(before, answered(kind, choices, was)), append(after, answered(kind, choices, is))
		}
	}
	add("facts", 4, 5, true, true)
	add("code", 2, 3, true, false)
	add("facts", 4, 1, false, true)
	add("code", 2, 1, false, false)
	s := Tasks(before, after)
	if len(s) != 3 || s[0].Name != All || s[1].Name != "facts" || s[2].Name != "code" {
		t.Fatalf("%+v", s)
	}
	near(t, "chance", s[0].Chance, (6*0.25+4*0.5)/10)
	near(t, "before", s[0].Before.Value, 0.8)
	near(t, "after", s[0].After.Value, 0.6)
	near(t, "change", s[0].Change.Value, -0.2)
	// (3 + 1 - 4/10)/100
	near(t, "error of the change", s[0].Change.Error*s[0].Change.Error, 0.036)
	// Wilson's interval of 8 in 10, as tabulated.
	near(t, "low", s[0].Before.Low, 0.490162471)
	near(t, "high", s[0].Before.High, 0.943317848)
	if code := s[2]; code.Questions != 4 || code.Before.Value != 0.75 || code.After.Value != 0 || code.Change.Value != -0.75 {
		t.Errorf("%+v", code)
	}
}

func TestTasksOfOneModelAndOfNone(t *testing.T) {
	s := Tasks([]Question{answered("facts", 4, true)}, nil)
	if len(s) != 2 || s[0].After != nil || s[0].Change != nil || s[0].Before.Value != 1 || s[0].Before.Low > 0.5 {
		t.Errorf("%+v", s)
	}
	if s := Tasks(nil, nil); s != nil {
		t.Errorf("%+v", s)
	}
}

func TestUnchangedAnswersAreNotCertain(t *testing.T) {
	e := change(0, 0, 20)
	if e.Value != 0 || e.Error != 0 || e.Low > -0.05 || e.High < 0.05 || e.Low != -e.High {
		t.Errorf("%+v", e)
	}
	// With half a question added to each outcome: ±1.96 √1/22.
	near(t, "high", change(0, 0, 20).High, z/22)
	if e := change(0, 20, 20); e.Value != -1 || e.Low != -1 || e.High < -1 || e.High > -0.5 {
		t.Errorf("all lost: %+v", e)
	}
}

// holds counts how often an interval holds the truth.
func holds(trials int, truth float64, draw func() plugin.Estimate) float64 {
	n := 0
	for range trials {
		if e := draw(); e.Low <= truth && truth <= e.High {
			n++
		}
	}
	return float64(n) / float64(trials)
}

func TestIntervalsHoldTheShare(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{30, 240} {
		for _, p := range []float64{0.05, 0.25, 0.6, 0.95} {
			got := holds(4000, p, func() plugin.Estimate {
				k := 0
				for range n {
					if random.Float64() < p {
						k++
					}
				}
				return share(k, n)
			})
			if got < 0.925 || got > 0.985 {
				t.Errorf("%d questions at %g: %.3f hold", n, p, got)
			}
		}
	}
}

func TestIntervalsHoldTheChange(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{30, 240} {
		for _, p := range []struct{ won, lost float64 }{{0.05, 0.25}, {0.1, 0.1}, {0.02, 0.4}} {
			got := holds(4000, p.won-p.lost, func() plugin.Estimate {
				won, lost := 0, 0
				for range n {
					switch x := random.Float64(); {
					case x < p.won:
						won++
					case x < p.won+p.lost:
						lost++
					}
				}
				return change(won, lost, n)
			})
			if got < 0.925 || got > 0.985 {
				t.Errorf("%d questions, %+v: %.3f hold", n, p, got)
			}
		}
	}
}

// What a user's questions are called is not mistaken for all of them.
func TestAKindCalledAll(t *testing.T) {
	q := Question{Name: All, Answer: 0, Choices: []ScoredChoice{{LogProb: -1, Bytes: 1}, {LogProb: -2, Bytes: 1}}}
	scores := Tasks([]Question{q, q}, nil)
	if len(scores) != 2 || scores[0].Questions != 2 || scores[1].Questions != 2 {
		t.Errorf("%+v", scores)
	}
}
