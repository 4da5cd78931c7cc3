package quant

import (
	"fmt"
	"slices"

	"pare/gguf"
)

// Requantize stores w, rows of cols numbers, in place of old, which is of type t
// and near to w. Blocks keep their scales unless new ones suit w better.
//
// A change smaller than half a step between two codes would be lost if each number
// took the nearest code. So the error that is made in one column is made good in
// others, as far as the matrix's inputs go together: h tells how. With it scales and
// codes then take turns to make what is left of the error smaller. Without it the
// change itself tells, for what training changes are directions that inputs take;
// that keeps less of it. Either way the same numbers give the same bytes.
func Requantize(t gguf.TensorType, old []byte, w []float32, cols int, h *Moments) ([]byte, error) {
	b, err := requantize(t, old, w, cols, h)
	if err != nil {
		return nil, fmt.Errorf("store changed numbers as type %v: %w", t, err)
	}
	return b, nil
}

func requantize(t gguf.TensorType, old []byte, w []float32, cols int, h *Moments) ([]byte, error) {
	if err := check(w, cols); err != nil {
		return nil, err
	}
	n, err := rows(t, len(old), cols)
	if err != nil {
		return nil, err
	}
	if n != len(w)/cols {
		return nil, fmt.Errorf("%d rows of numbers for a matrix of %d", len(w)/cols, n)
	}
	if _, ok := plain[t]; ok {
		return bytesOf(t, w)
	}
	c, err := codecOf(t)
	if err != nil {
		return nil, err
	}
	round, err := c.rounding(t, old, w, cols, h)
	if err != nil {
		return nil, err
	}
	out, row := slices.Clone(old), len(old)/max(n, 1)
	inParallel((n+bandRows-1)/bandRows, func(from, to int) {
		for i := from; i < to; i++ {
			first, end := i*bandRows, min((i+1)*bandRows, n)
			blocks := out[first*row : end*row]
			b := c.bandOf(t, blocks, w[first*cols:end*cols], cols)
			round(b, blocks)
			b.put(t, blocks)
		}
	})
	return out, nil
}

// bandRows is how many rows are rounded together: enough to read the moments'
// factor seldom, few enough to stay in the cache.
const bandRows = 32

// rounding chooses how the numbers of a band find their codes.
func (c *codec) rounding(t gguf.TensorType, old []byte, w []float32, cols int, h *Moments) (func(b band, blocks []byte), error) {
	if h != nil {
		if h.N != cols {
			return nil, fmt.Errorf("moments are of %d inputs, and rows have %d numbers", h.N, cols)
		}
		f, err := h.factored()
		return func(b band, blocks []byte) {
			b.feedback(f)
			b.refine(h, t, blocks)
		}, err
	}
	s := c.changed(t, old, w, cols)
	if s == nil {
		return func(band, []byte) {}, nil // each number already has the nearest code
	}
	return func(b band, _ []byte) { b.keep(s) }, nil
}

// changed sketches what w changes of old.
func (c *codec) changed(t gguf.TensorType, old []byte, w []float32, cols int) sketch {
	g, before := c.grid(), make([]float32, c.block)
	size, perRow := int(t.TypeSize()), cols/c.block
	return sketchOf(len(w)/cols, cols, func(r int, change []float64) {
		for i := range perRow {
			at := r*perRow + i
			c.open(old[at*size:][:size], g)
			c.values(before, g)
			for j, x := range before {
				change[i*c.block+j] = float64(w[at*c.block+j]) - float64(x)
			}
		}
	})
}
