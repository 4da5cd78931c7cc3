package profile

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"pare/plugin"
)

// simulate makes the traces of a model whose layer l turns the stream by
// turn[l] of pi in a plane, so that D[a][b] = min(Σ turn, 1) exactly, in chunks
// of the given numbers of tokens. noise is the standard deviation, chunk by
// chunk, of each turn.
func simulate(turn []float64, tokens []int64, noise float64, seed uint64) []plugin.TraceDelta {
	random := rand.New(rand.NewPCG(seed, 1))
	layers := len(turn)
	chunks := make([]plugin.TraceDelta, len(tokens))
	for i, n := range tokens {
		here := make([]float64, layers)
		for l := range here {
			here[l] = max(0, turn[l]+noise*random.NormFloat64())
		}
		chunks[i] = plugin.TraceDelta{
			Model: "sha256:m", Layers: layers, Hidden: 64, Expected: n + 1, Texts: []string{fmt.Sprint("t", i)},
			All: rotate(here, n, 2), Last: rotate(here, 1, 1), First: rotate(here, 1, 0),
		}
	}
	return chunks
}

func rotate(turn []float64, tokens, out int64) plugin.Sums {
	layers := len(turn)
	s := plugin.NewSums(layers)
	s.Tokens, s.OutTokens = tokens, out
	i := 0 // counts the pairs row by row, without plugin.Pair
	for a := range layers {
		angle := 0.0
		for b := a + 1; b <= layers; b++ {
			angle += turn[b-1]
			n := float64(tokens)
			if b == layers {
				n = float64(out)
			}
			s.Angle[i] = n * min(angle, 1)
			s.Cosine[i] = n * math.Cos(math.Pi*min(angle, 1))
			i++
			if b == a+1 {
				s.Step[a] = n * float64(a+1) / 10
			}
		}
		s.Norm[a] = float64(tokens) * float64(a+1)
	}
	s.Norm[layers] = float64(out) * float64(layers+1)
	return s
}

func repeat(n int64, times int) []int64 {
	list := make([]int64, times)
	for i := range list {
		list[i] = n
	}
	return list
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

func TestNewAveragesEachKindOfTokenApart(t *testing.T) {
	turn := []float64{.3, .01, .02, .1}
	p, err := New(simulate(turn, []int64{10, 30, 0}, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	if p.Chunks != 2 || p.Tokens != 40 || p.Expected != 43 || p.All.OutTokens != 6 || p.Layers != 4 || p.Hidden != 64 {
		t.Errorf("counts: %+v", p)
	}
	for kind, m := range map[string]plugin.Means{"all": p.All, "last": p.Last} {
		for a := 0; a <= 4; a++ {
			sum := 0.0
			for b := a; b <= 4; b++ {
				if !near(m.Distance[a][b], sum) || !near(m.Distance[b][a], sum) {
					t.Errorf("%s: D[%d][%d] = %g and %g, want %g", kind, a, b, m.Distance[a][b], m.Distance[b][a], sum)
				}
				if b < 4 {
					sum += turn[b]
				}
			}
			if !near(m.Norm[a], float64(a+1)) {
				t.Errorf("%s: norm %d is %g", kind, a, m.Norm[a])
			}
		}
		for l := range turn {
			if !near(m.Influence[l], 1-math.Cos(math.Pi*turn[l])) || !near(m.Step[l], float64(l+1)/10) {
				t.Errorf("%s: layer %d: influence %g, step %g", kind, l, m.Influence[l], m.Step[l])
			}
		}
	}
	// First counts no output rows: what touches x_L is 0, and nothing is NaN.
	if p.First.Influence[3] != 0 || p.First.Distance[0][4] != 0 || !near(p.First.Distance[0][3], .33) {
		t.Errorf("first: %+v", p.First)
	}
	if _, err := json.Marshal(p); err != nil {
		t.Error(err)
	}
}

func TestMergeLeavesOutWhatIsNotFinite(t *testing.T) {
	chunks := simulate([]float64{.3, .01, .02, .1}, repeat(10, 3), 0, 1)
	chunks[1].Last.Angle[2] = math.NaN()
	chunks[0].Faults = []plugin.Fault{{Reason: "no norm found", Graphs: 2}}
	chunks[2].Faults = []plugin.Fault{{Reason: "no norm found", Graphs: 3}, {Reason: "some tokens were left out", Graphs: 1, Counted: true}}
	chunks[0].LeftOut, chunks[1].LeftOut, chunks[2].LeftOut = 1, 20, 300
	sum, err := Merge(chunks)
	if err != nil {
		t.Fatal(err)
	}
	if sum.All.Tokens != 20 || sum.Expected != 33 || !reflect.DeepEqual(sum.Texts, []string{"t0", "t2"}) {
		t.Errorf("%d tokens of %d expected, texts %v", sum.All.Tokens, sum.Expected, sum.Texts)
	}
	if sum.LeftOut != 301 {
		t.Errorf("%d tokens left out, want those of the chunks that count, 301", sum.LeftOut)
	}
	want := []plugin.Fault{
		{Reason: "no norm found", Graphs: 5},
		{Reason: "some tokens were left out", Graphs: 1, Counted: true},
		{Reason: plugin.NotFinite, Graphs: 1},
	}
	if !reflect.DeepEqual(sum.Faults, want) {
		t.Errorf("faults %v", sum.Faults)
	}
	if chunks[0].All.Tokens != 10 {
		t.Error("Merge changed its input")
	}
}

func TestMergeRefuses(t *testing.T) {
	good := func() []plugin.TraceDelta { return simulate([]float64{.3, .01}, repeat(10, 2), 0, 1) }
	for want, damage := range map[string]func([]plugin.TraceDelta) []plugin.TraceDelta{
		"there are none":          func([]plugin.TraceDelta) []plugin.TraceDelta { return nil },
		"trace one model":         func(c []plugin.TraceDelta) []plugin.TraceDelta { c[1].Model = "other"; return c },
		"sums do not match":       func(c []plugin.TraceDelta) []plugin.TraceDelta { c[1].All.Step = nil; return c },
		"trace 1 of 2: it counts": func(c []plugin.TraceDelta) []plugin.TraceDelta { c[0].All.Tokens = -1; return c },
	} {
		if _, err := Merge(damage(good())); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
