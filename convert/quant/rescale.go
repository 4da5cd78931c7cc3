package quant

import (
	"errors"
	"fmt"
	"math"

	"pare/gguf"
)

// Every block of the types that Pack takes has a scale in half precision, and those
// with minima of their own a factor for these. Half precision is much finer than the
// codes are: a change to these two is kept whatever its size, where one to a single
// number mostly falls between two codes.

// Tunable tells what of a type Rescale can change: the numbers of a block that share
// a factor, and whether minima have one of their own. block is 0 if it is nothing.
func Tunable(t gguf.TensorType) (block int, minima bool) {
	c, ok := codecs[t]
	if !ok || c.levels != nil {
		return 0, false
	}
	return c.block, c.minAt != 0
}

// Rescale changes a matrix of type t, stored in data with cols numbers a row: the
// scale of each block becomes scale times one plus the entry of scales, and likewise
// the minimum, if the type has one; without it minima is not looked at. The codes stay.
func Rescale(t gguf.TensorType, data []byte, cols int, scales, minima []float32) error {
	if err := rescale(t, data, cols, scales, minima); err != nil {
		return fmt.Errorf("change the scales of type %v: %w", t, err)
	}
	return nil
}

func rescale(t gguf.TensorType, data []byte, cols int, scales, minima []float32) error {
	block, both := Tunable(t)
	if block == 0 {
		return errors.New("it has none to change")
	}
	if _, err := rows(t, len(data), cols); err != nil {
		return err
	}
	c, size := codecs[t], int(t.TypeSize())
	blocks := len(data) / size
	if len(scales) != blocks || both && len(minima) != blocks {
		return fmt.Errorf("%d scales and %d minima are given for %d blocks", len(scales), len(minima), blocks)
	}
	for i := range blocks {
		b := data[i*size:][:size]
		multiply(b[c.scaleAt:], scales[i])
		if both {
			multiply(b[c.minAt:], minima[i])
		}
	}
	return nil
}

// multiply changes a number in half precision, within its range, to 1+by times itself.
func multiply(b []byte, by float32) {
	const largest = 65504
	x := float64(readHalf(b)) * (1 + float64(by))
	writeHalf(b, float32(math.Max(-largest, math.Min(x, largest))))
}
