package heatmap

import (
	"math"
	"math/rand/v2"

	"pare/plugin"
)

// synthetic is the profile of a random walk shaped like a real model's: long
// steps in the first layers and the last, short ones past the middle.
func synthetic(layers int) plugin.Profile {
	const hidden, walks = 64, 6
	random := rand.New(rand.NewPCG(uint64(layers), 1))
	m := plugin.Means{Tokens: 12345, OutTokens: 42}
	m.Distance = make([][]float64, layers+1)
	for a := range m.Distance {
		m.Distance[a] = make([]float64, layers+1)
	}
	m.Influence, m.Step, m.Norm = make([]float64, layers), make([]float64, layers), make([]float64, layers+1)
	for range walks {
		x := [][]float64{make([]float64, hidden)}
		for i := range x[0] {
			x[0][i] = random.NormFloat64()
		}
		for l := range layers {
			depth := float64(l) / float64(layers-1)
			step := .9*math.Exp(-9*depth) + .11 + .25*math.Exp(-35*(1-depth)) - .055*math.Exp(-40*(depth-.68)*(depth-.68))
			step *= (1 + .12*math.Sin(float64(7*l))) * math.Sqrt(30/float64(layers)) * 2
			next := make([]float64, hidden)
			for i := range next {
				next[i] = x[l][i] + step*norm(x[l])/math.Sqrt(hidden)*random.NormFloat64()
			}
			x = append(x, next)
			m.Step[l] += step / walks
		}
		for a := range x {
			m.Norm[a] += norm(x[a]) / walks
			for b := range x {
				if a != b {
					m.Distance[a][b] += math.Acos(cosine(x[a], x[b])) / math.Pi / walks
				}
			}
			if a > 0 {
				m.Influence[a-1] += (1 - cosine(x[a-1], x[a])) / walks
			}
		}
	}
	return plugin.Profile{
		Version: 1, Model: "sha256:0123456789abcdef0123", Architecture: "llama", Layers: layers, Hidden: hidden,
		Chunks: 42, Tokens: m.Tokens, Expected: m.Tokens + 42, All: m,
		Corpora: []plugin.CorpusInfo{{Name: "default", Digest: "sha256:fedcba9876543210", Documents: 18}},
	}
}

func norm(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}

func cosine(u, v []float64) float64 {
	sum := 0.0
	for i := range u {
		sum += u[i] * v[i]
	}
	return sum / norm(u) / norm(v)
}

// planned removes the given layers.
func planned(p plugin.Profile, remove ...int) *plugin.Plan {
	a, b := remove[0], remove[len(remove)-1]+1
	d := p.All.Distance[a][b]
	return &plugin.Plan{Version: 1, Model: p.Model, Criterion: "angular", TokensUsed: "all", Layers: p.Layers, Remove: remove,
		Chosen: plugin.Candidate{Remove: remove, Score: d, Low: d * .98, High: d * 1.02, Wins: .9}}
}
