package profile

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pare/plugin"
)

// scoreOf is the score of removing a set of layers by the named criterion, on the
// given means, as its formula has it: what Select must arrive at by way of chunks.
func scoreOf(criterion string, m plugin.Means, remove []int) (float64, error) {
	by, err := named(criterion)
	if err != nil {
		return 0, err
	}
	layers := len(m.Influence)
	remove, err = sorted("remove", layers, remove)
	if err != nil {
		return 0, err
	}
	if by.terms == nil {
		return by.position(layers, remove), nil
	}
	score := 0.0
	for _, t := range by.terms(remove) {
		if t.influence {
			score += m.Influence[t.a]
		} else {
			score += m.Distance[t.a][t.b]
		}
	}
	return score, nil
}

// Each formula against a loop written from its definition, on random sums.
func TestScoreFollowsTheFormulas(t *testing.T) {
	const layers = 9
	random := rand.New(rand.NewPCG(1, 2))
	s := plugin.NewSums(layers)
	s.Tokens, s.OutTokens = 7, 3
	distance, cosine := [layers + 1][layers + 1]float64{}, [layers]float64{}
	i := 0
	for a := range layers {
		for b := a + 1; b <= layers; b++ {
			s.Angle[i], s.Cosine[i] = random.Float64(), random.Float64()
			n := 7.0
			if b == layers {
				n = 3
			}
			distance[a][b] = s.Angle[i] / n
			if b == a+1 {
				cosine[a] = s.Cosine[i] / n
			}
			i++
		}
	}
	m := Means(layers, s)
	for a := range layers {
		for n := 1; a+n <= layers; n++ {
			remove := make([]int, 0, n)
			sum, influence := 0.0, 0.0
			for l := a; l < a+n; l++ {
				remove = append(remove, l)
				sum += distance[l][l+1]
				influence += 1 - cosine[l]
			}
			for name, want := range map[string]float64{
				"angular": distance[a][a+n], "cumulative": sum,
				"influence": influence, "deepest": float64(layers - a - n),
			} {
				if got, err := scoreOf(name, m, remove); err != nil || !near(got, want) {
					t.Errorf("%q of block (%d, %d): %g, %v, want %g", name, a, n, got, err, want)
				}
			}
		}
	}
	// Two blocks, in no order: the sum of both.
	got, err := scoreOf("angular", m, []int{6, 2, 3})
	if want := distance[2][4] + distance[6][7]; err != nil || !near(got, want) {
		t.Errorf("two blocks: %g, %v, want %g", got, err, want)
	}
	for _, bad := range [][]int{{9}, {-1}, {2, 2}, nil} {
		if _, err := scoreOf("angular", m, bad); err == nil {
			t.Errorf("scoreOf took %v", bad)
		}
	}
	if _, err := scoreOf("magic", m, []int{1}); err == nil {
		t.Error("scoreOf took an unknown criterion")
	}
}

func TestCriteriaStartWithTheDefault(t *testing.T) {
	if got := Criteria(); !slices.Equal(got, []string{"auto", "angular", "cumulative", "influence", "deepest", "loss", "greedy"}) {
		t.Error(got)
	}
	for name, want := range map[string]bool{"": true, "auto": true, "loss": true, "greedy": true,
		"angular": false, "cumulative": false, "influence": false, "deepest": false, "magic": false} {
		if NeedsScore(name) != want {
			t.Errorf("NeedsScore(%q) is %v", name, !want)
		}
	}
	if by, err := named(""); err != nil || by.name != Criteria()[0] {
		t.Errorf("the default is %q, %v", by.name, err)
	}
}
