// Package quant takes the numbers of a model's matrices out of ggml's quantised
// types and puts them back in.
//
// All legacy types (Q4_0 to Q8_0) and all K types store a matrix row by row in
// groups of 16 or 32 neighbours that share a scale and perhaps a minimum:
//
//	w = scale·q + min, q = 0, 1, 2 …
//
// Pack takes a matrix apart into those three, exactly. Floats computes the
// numbers. Quantize makes a matrix from numbers, Requantize from numbers that are
// near those of an older one.
package quant

import (
	"errors"
	"fmt"

	"pare/gguf"
)

// Errors for decisions.
var (
	ErrNotAffine = errors.New("its numbers are not scale·q + min")      // take Floats
	ErrCodebook  = errors.New("its numbers are entries of a code book") // that Pare does not hold; ggml does
)

// A codec knows one quantised type. A block of the file holds block numbers in
// groups of group, each number as a code of bits bits.
type codec struct {
	block, group, bits int
	low                byte // the smallest code that is written

	// levels are what the codes stand for, before the scale. Where it is nil a code
	// stands for itself, and so does it in the types that Pack takes.
	levels []float32

	// Where a block has its scale in half precision and, unless that is 0, a factor of
	// its minima. Of types with levels nobody asks.
	scaleAt, minAt int

	open func(b []byte, g grid)      // takes a block apart
	put  func(b []byte, code []byte) // writes codes into a block; the scales in it stay
	fit  func(b []byte, w []float32) // writes scales that suit w into a block; the codes may change
}

// grid is a block taken apart: a code for each number, and for each group the
// scale and the minimum.
type grid struct {
	code       []byte
	scale, min []float32
}

func (c *codec) grid() grid {
	groups := c.block / c.group
	return grid{make([]byte, c.block), make([]float32, groups), make([]float32, groups)}
}

// codecOf returns the codec for t.
func codecOf(t gguf.TensorType) (*codec, error) {
	if c, ok := codecs[t]; ok {
		return &c, nil
	}
	switch t {
	case gguf.IQ1_S, gguf.IQ1_M, gguf.IQ2_XXS, gguf.IQ2_XS, gguf.IQ2_S, gguf.IQ3_XXS, gguf.IQ3_S:
		return nil, ErrCodebook
	}
	return nil, errors.New("it is not a quantised type of weights")
}

var codecs = map[gguf.TensorType]codec{
	gguf.Q4_0: q4_0, gguf.Q4_1: q4_1, gguf.Q5_0: q5_0, gguf.Q5_1: q5_1, gguf.Q8_0: q8_0,
	gguf.Q2_K: q2_K, gguf.Q3_K: q3_K, gguf.Q4_K: q4_K, gguf.Q5_K: q5_K, gguf.Q6_K: q6_K,
	gguf.TQ1_0: tq1_0, gguf.TQ2_0: tq2_0,
	gguf.IQ4_NL: iq4_NL, gguf.IQ4_XS: iq4_XS, gguf.MXFP4: mxfp4, gguf.OllamaMXFP4: ollamaMXFP4,
}

// rows returns how many rows of cols numbers of type t there are in size bytes.
func rows(t gguf.TensorType, size, cols int) (int, error) {
	if cols <= 0 {
		return 0, fmt.Errorf("rows of %d numbers", cols)
	}
	row, err := t.Bytes([]uint64{uint64(cols)})
	if err != nil {
		return 0, err
	}
	if uint64(size)%row != 0 {
		return 0, fmt.Errorf("%d bytes are not whole rows of %d numbers, %d bytes each", size, cols, row)
	}
	return int(uint64(size) / row), nil
}
