package convert

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"pare/gguf"
)

// A Rotation tells a layer where a token stands (RoPE, arXiv 2104.09864): pairs of
// numbers of each query and key are turned by an angle, position times frequency.
type Rotation struct {
	Interleaved bool      // pair i is the numbers 2i and 2i+1; else i and i+len(Frequencies)
	Frequencies []float64 // radians from one position to the next, for each pair; numbers beyond the pairs stay
	Scale       float64   // what is turned is multiplied by it
}

// YaRN's bounds (arXiv 2309.00071): pairs that turn more than fast times over the
// original context keep their frequency, those that turn less than slow times are
// slowed down in full. llama.cpp reads no others for the architectures known here.
const (
	yarnFast = 32
	yarnSlow = 1
)

// readRotations works out how each layer tells positions. With sliding windows gemma3
// has two ways: one for the window and one for all.
func (n *Network) readRotations(md metadata, a anatomy) error {
	factors, err := frequencyFactors(md)
	if err != nil {
		return err
	}
	width := md.number("rope.dimension_count", n.HeadSize)
	if width < 2 || width > n.HeadSize || width%2 != 0 {
		return fmt.Errorf("rope.dimension_count is %d where heads have %d numbers: %w", width, n.HeadSize, ErrNoNetwork)
	}
	if factors != nil && len(factors) != width/2 {
		return fmt.Errorf("%d factors of frequencies stand for %d pairs: %w", len(factors), width/2, ErrUnfit)
	}
	r := rope{
		kind:    md.word("rope.scaling.type", "linear"),
		base:    md.real("rope.freq_base", 10_000),
		stretch: stretch(md, len(n.Layers)),
		context: md.number("rope.scaling.original_context_length", md.number("context_length", 0)),
		scale:   md.real("rope.scaling.attn_factor", 1),
	}
	if !(r.base > 1) || !(r.stretch > 0) {
		return fmt.Errorf("rope.freq_base is %g and rope.scaling.factor %g: %w", r.base, r.stretch, ErrUnfit)
	}
	switch r.kind {
	case "none":
		r.stretch = 1
	case "linear", "yarn", "longrope":
	default:
		return fmt.Errorf("rope.scaling.type is %q: %w", r.kind, ErrNoNetwork)
	}
	n.Rotations = []Rotation{r.rotation(width, factors, a.interleaved)}
	if n.Architecture == "gemma3" && md.number("attention.sliding_window", 0) > 0 {
		r.base, r.stretch = md.real("rope.local.freq_base", 10_000), 1
		n.Rotations = append(n.Rotations, r.rotation(width, nil, false))
		for l := range n.Layers {
			if (l+1)%6 != 0 {
				n.Layers[l].Rotation = 1
			}
		}
	}
	return nil
}

// stretch is how many times longer than the original the context was made. As Ollama
// does, gemma3 models of some numbers of layers are taken to have been stretched.
func stretch(md metadata, layers int) float64 {
	s := md.real("rope.scaling.factor", md.real("rope.scale_linear", 0))
	if md.arch == "gemma3" {
		s, _ = gemma3Settings(md, layers)
	}
	if s == 0 {
		return 1
	}
	return s
}

// rope is the recipe of a rotation.
type rope struct {
	kind    string
	base    float64
	stretch float64
	context int // tokens of the original context
	scale   float64
}

// rotation computes frequency i of d/2 as base^(-2i/d), divided by its factor and by
// the stretch; YaRN stretches only the slow ones.
func (r rope) rotation(d int, factors []float64, interleaved bool) Rotation {
	out := Rotation{Interleaved: interleaved, Frequencies: make([]float64, d/2), Scale: r.scale}
	for i := range out.Frequencies {
		f := math.Pow(r.base, -2*float64(i)/float64(d))
		if factors != nil {
			f /= factors[i]
		}
		kept := 0.0
		if r.kind == "yarn" {
			kept = r.kept(i, d)
		}
		out.Frequencies[i] = f*kept + f/r.stretch*(1-kept)
	}
	if r.kind == "yarn" && r.stretch > 1 {
		out.Scale *= 1 + 0.1*math.Log(r.stretch)
	}
	return out
}

// kept is the share of pair i's frequency that YaRN leaves as it was: a ramp between
// the pairs that turn yarnFast and yarnSlow times over the original context.
func (r rope) kept(i, d int) float64 {
	pair := func(turns float64) float64 {
		return float64(d) * math.Log(float64(r.context)/(turns*2*math.Pi)) / (2 * math.Log(r.base))
	}
	low := max(0, math.Floor(pair(yarnFast)))
	high := min(float64(d-1), math.Ceil(pair(yarnSlow)))
	return 1 - min(1, max(0, (float64(i)-low)/max(0.001, high-low)))
}

// frequencyFactors reads what the frequencies are divided by, nil if there is nothing.
// Of LongRoPE's two sets (arXiv 2402.13753) it takes the one for texts that fit the
// original context: no longer ones are trained on.
func frequencyFactors(md metadata) ([]float64, error) {
	name := "rope_freqs.weight"
	if md.arch == "phi3" || md.word("rope.scaling.type", "") == "longrope" {
		name = "rope_factors_short.weight"
	}
	t, ok := md.f.Tensor(name)
	if !ok {
		return nil, nil
	}
	if t.Type != gguf.F32 || len(t.Shape) != 1 {
		return nil, fmt.Errorf("tensor %s is %v of shape %v, not a row of F32: %w", name, t.Type, t.Shape, ErrUnfit)
	}
	raw := make([]byte, t.Size)
	if _, err := io.ReadFull(md.f.Data(t), raw); err != nil {
		return nil, fmt.Errorf("read tensor %s: %w", name, err)
	}
	factors := make([]float64, t.Shape[0])
	for i := range factors {
		factors[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		if !(factors[i] > 0) || math.IsInf(factors[i], 0) {
			return nil, fmt.Errorf("tensor %s holds a factor of %g: %w", name, factors[i], ErrUnfit)
		}
	}
	return factors, nil
}
