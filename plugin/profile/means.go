package profile

import "pare/plugin"

// Means divides sums by the tokens behind them: what involves x_L by OutTokens,
// all else by Tokens. A mean over no tokens is 0, because JSON has no NaN; check
// Tokens and OutTokens before reading one as a distance.
func Means(layers int, s plugin.Sums) plugin.Means {
	m := plugin.Means{
		Tokens:    s.Tokens,
		OutTokens: s.OutTokens,
		Distance:  make([][]float64, layers+1),
		Influence: make([]float64, layers),
		Step:      make([]float64, layers),
		Norm:      make([]float64, layers+1),
	}
	for a := range m.Distance {
		m.Distance[a] = make([]float64, layers+1)
	}
	for a := range layers {
		for b := a + 1; b <= layers; b++ {
			d := over(s.Angle[plugin.Pair(layers, a, b)], tokens(layers, b, s))
			m.Distance[a][b], m.Distance[b][a] = d, d
		}
	}
	for l := range layers {
		n := tokens(layers, l+1, s)
		// Σ (1 - cos) = tokens - Σ cos, which is 0 over no tokens.
		m.Influence[l] = over(n-s.Cosine[plugin.Pair(layers, l, l+1)], n)
		m.Step[l] = over(s.Step[l], n)
	}
	for l := range m.Norm {
		m.Norm[l] = over(s.Norm[l], tokens(layers, l, s))
	}
	return m
}

// tokens is the number of tokens for which x_b was measured.
func tokens(layers, b int, s plugin.Sums) float64 {
	if b == layers {
		return float64(s.OutTokens)
	}
	return float64(s.Tokens)
}

func over(sum, n float64) float64 {
	if n == 0 {
		return 0
	}
	return sum / n
}
