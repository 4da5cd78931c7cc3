package tinymodel

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"pare/gguf/gguftest"
)

// ggml's ids of the two tensor types; general.file_type has the same for a whole file.
const (
	typeF32 = 0
	typeF16 = 1
)

const (
	// sharpness is the deviation of attention scores before the softmax: enough for a
	// head to attend to few tokens, so that what it yields does not average out.
	sharpness = 3
	// attentionYield and feedForwardYield are the root mean squares that enter the
	// last matrix of either part when all matrices before it keep the scale.
	attentionYield   = 0.7
	feedForwardYield = 0.6
	// faint scales the rows of tokens that should hardly ever be chosen.
	faint = 0.1
)

// weights collects tensors. The numbers of each depend on the seed and its name only.
type weights struct {
	seed    uint64
	float32 bool
	tensors []gguftest.Tensor
}

func (w *weights) source(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// turn is how far layer l turns the residual stream, as an angle divided by pi. It is
// shaped as in real models: the first layers do much, those in the deep middle
// little, the last more again; chance makes neighbours differ.
func (w *weights) turn(l, layers int) float64 {
	depth := float64(l) / float64(max(layers-1, 1))
	shape := 0.03 + 0.17*math.Pow(1-depth, 3) + 0.08*math.Pow(depth, 8)
	return shape * (0.75 + 0.5*w.source(fmt.Sprintf("blk.%d.turn", l)).Float64())
}

// matrix adds weights that take in numbers to out numbers and multiply their root mean
// square by gain.
func (w *weights) matrix(name string, in, out int, gain float64) {
	r := w.source(name)
	values := make([]float64, in*out)
	for i := range values {
		values[i] = gain / math.Sqrt(float64(in)) * r.NormFloat64()
	}
	w.add(name, values, !w.float32, uint64(in), uint64(out))
}

// embedding adds a row for each token, of the given deviation. Rows of tokens that end
// the text, or that are no text by themselves, are faint: models go on talking, and in
// letters.
func (w *weights) embedding(name string, v vocabulary, deviation float64) {
	r := w.source(name)
	values := make([]float64, 0, len(v.tokens)*Hidden)
	for id := range v.tokens {
		scale := deviation
		if v.unspoken(id) {
			scale *= faint
		}
		for range Hidden {
			values = append(values, scale*r.NormFloat64())
		}
	}
	w.add(name, values, !w.float32, Hidden, uint64(len(v.tokens)))
}

// norm adds weights about scale.
func (w *weights) norm(name string, n int, scale float64) {
	r := w.source(name)
	values := make([]float64, n)
	for i := range values {
		values[i] = scale * (1 + 0.1*r.NormFloat64())
	}
	w.add(name, values, false, uint64(n))
}

// signedNorm is norm with signs at random. Before a tied output matrix they keep the
// model from repeating its last token, which the residual stream resembles most.
func (w *weights) signedNorm(name string, n int, scale float64) {
	r := w.source(name)
	values := make([]float64, n)
	for i := range values {
		values[i] = scale * float64(1-2*r.IntN(2))
	}
	w.add(name, values, false, uint64(n))
}

func (w *weights) bias(name string, n int) {
	r := w.source(name)
	values := make([]float64, n)
	for i := range values {
		values[i] = 0.1 * r.NormFloat64()
	}
	w.add(name, values, false, uint64(n))
}

func (w *weights) add(name string, values []float64, half bool, shape ...uint64) {
	t := gguftest.Tensor{Name: name, Shape: shape, Type: typeF32}
	if half {
		t.Type = typeF16
	}
	for _, v := range values {
		if half {
			t.Bytes = binary.LittleEndian.AppendUint16(t.Bytes, float16(float32(v)))
		} else {
			t.Bytes = binary.LittleEndian.AppendUint32(t.Bytes, math.Float32bits(float32(v)))
		}
	}
	w.tensors = append(w.tensors, t)
}

// float16 rounds to IEEE half precision, half away from zero. Weights are far below
// its largest number; below its smallest normal one they become zero.
func float16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	magnitude := bits&0x7fffffff + 1<<12 // half of the last place that is kept
	if magnitude < (127-14)<<23 {
		return sign
	}
	return sign | uint16(magnitude>>13-(127-15)<<10)
}
