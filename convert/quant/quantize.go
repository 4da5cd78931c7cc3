package quant

import (
	"errors"
	"fmt"
	"math"

	"pare/gguf"
)

// Quantize stores w, rows of cols numbers, as type t. For each block it looks for
// the scale that makes the squared error small. There is no Quantize for the types
// that stand for their numbers by a code book, nor for the ternary ones.
func Quantize(t gguf.TensorType, w []float32, cols int) ([]byte, error) {
	b, err := quantize(t, w, cols)
	if err != nil {
		return nil, fmt.Errorf("store numbers as type %v: %w", t, err)
	}
	return b, nil
}

func quantize(t gguf.TensorType, w []float32, cols int) ([]byte, error) {
	if err := check(w, cols); err != nil {
		return nil, err
	}
	if _, ok := plain[t]; ok {
		return bytesOf(t, w)
	}
	c, err := codecOf(t)
	if err != nil {
		return nil, err
	}
	if c.fit == nil {
		return nil, errors.New("that type is only read: choose another, such as Q4_K or Q8_0")
	}
	size, err := t.Bytes([]uint64{uint64(cols), uint64(len(w) / cols)})
	if err != nil {
		return nil, err
	}
	out := make([]byte, size)
	inParallel(len(w)/c.block, func(from, to int) {
		g := c.grid()
		for i := from; i < to; i++ {
			block, numbers := out[i*int(t.TypeSize()):][:t.TypeSize()], w[i*c.block:][:c.block]
			c.fit(block, numbers)
			c.open(block, g)
			c.nearest(g, numbers)
			c.put(block, g.code)
		}
	})
	return out, nil
}

// check refuses what no type can store.
func check(w []float32, cols int) error {
	if cols <= 0 || len(w)%cols != 0 {
		return fmt.Errorf("%d numbers are not whole rows of %d", len(w), cols)
	}
	for i, x := range w {
		if x-x != 0 {
			return fmt.Errorf("the number in row %d, column %d is %v", i/cols, i%cols, x)
		}
	}
	return nil
}

// nearest gives each number of a block the code that stands for the nearest value,
// and returns the squared error.
func (c *codec) nearest(g grid, w []float32) (loss float64) {
	for i := range g.scale {
		r := c.ruler(float64(g.scale[i]), float64(g.min[i]))
		code := g.code[i*c.group:][:c.group]
		for j, x := range w[i*c.group:][:c.group] {
			q, value := r.read(float64(x))
			code[j] = q
			loss += (float64(x) - value) * (float64(x) - value)
		}
	}
	return loss
}

// A ruler finds codes for the numbers of a group.
type ruler struct {
	line
	per       float64 // 1/scale; 0 where all codes stand for the same number
	low, high float64
	levels    []float32
}

func (c *codec) ruler(scale, least float64) ruler {
	r := ruler{line: line{scale, least}, low: float64(c.low), high: c.high(), levels: c.levels}
	if scale != 0 {
		r.per = 1 / r.scale
	}
	return r
}

// high is the largest code.
func (c *codec) high() float64 {
	if c.bits == 2 && c.group == c.block {
		return 2 // ternary
	}
	return float64(int(1)<<c.bits - 1)
}

// read returns the code nearest to x and the number that it stands for.
func (r ruler) read(x float64) (code byte, value float64) {
	if r.levels != nil {
		return r.level(x)
	}
	q := min(max(math.RoundToEven((x-r.min)*r.per), r.low), r.high)
	return byte(q), r.scale*q + r.min
}

// level looks for the nearest of a code book's numbers.
func (r ruler) level(x float64) (code byte, value float64) {
	least := math.Inf(1)
	for i, l := range r.levels {
		v := r.scale * float64(l)
		if d := math.Abs(x - v); d < least {
			code, value, least = byte(i), v, d
		}
	}
	return code, value
}
