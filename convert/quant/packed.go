package quant

import (
	"fmt"

	"pare/gguf"
)

// Packed is a matrix of Rows×Cols quantised numbers, the same for all types:
//
//	w[r, c] = Scale[r, c/Block]·q[r, c] + Min[r, c/Block], q = 0 … 2^Bits-1
//
// In float32 that is exactly what ggml computes. q is never signed: what a type
// subtracts from its codes is in Min.
//
// With Bits 8, Q holds one q a byte, Rows×Cols. With Bits 4 it holds two, Rows×Cols/2:
// byte j of a block (of Block/2 bytes) has column j of the block in its low half
// and column Block/2+j in its high half. So in a graph, with Q as [Rows, Cols/Block, 1,
// Block/2], (Q >> {0, 4}) & 15 of shape [Rows, Cols/Block, 2, Block/2] is q in the order of
// the columns.
type Packed struct {
	Rows, Cols int
	Block      int // 16 or 32 columns that share Scale and Min
	Bits       int // 4 or 8
	Q          []byte
	Scale, Min []float32 // Rows×Cols/Block
}

// Pack takes apart a matrix of type t, stored in data with cols numbers a row.
// The error wraps ErrNotAffine or ErrCodebook if t has no such form.
func Pack(t gguf.TensorType, data []byte, cols int) (Packed, error) {
	p, err := pack(t, data, cols)
	if err != nil {
		return Packed{}, fmt.Errorf("unpack numbers of type %v: %w", t, err)
	}
	return p, nil
}

func pack(t gguf.TensorType, data []byte, cols int) (Packed, error) {
	c, err := codecOf(t)
	if err != nil {
		return Packed{}, err
	}
	if c.levels != nil {
		return Packed{}, ErrNotAffine
	}
	n, err := rows(t, len(data), cols)
	if err != nil {
		return Packed{}, err
	}
	p := Packed{Rows: n, Cols: cols, Block: min(c.group, 32), Bits: 8}
	if c.bits <= 4 {
		p.Bits = 4
	}
	p.Q = make([]byte, n*cols*p.Bits/8)
	p.Scale = make([]float32, n*cols/p.Block)
	p.Min = make([]float32, n*cols/p.Block)
	p.fill(c, t, data)
	return p, nil
}

// fill takes the blocks apart, one after the other.
func (p Packed) fill(c *codec, t gguf.TensorType, data []byte) {
	size, repeat := int(t.TypeSize()), c.group/p.Block
	g := c.grid()
	for i := range len(data) / size {
		c.open(data[i*size:][:size], g)
		if q := p.Q[i*c.block*p.Bits/8:]; p.Bits == 8 {
			copy(q, g.code)
		} else {
			for at := 0; at < c.block; at += p.Block {
				join(q[at/2:][:p.Block/2], g.code[at:][:p.Block])
			}
		}
		for j := range c.block / p.Block {
			p.Scale[i*c.block/p.Block+j] = g.scale[j/repeat]
			p.Min[i*c.block/p.Block+j] = g.min[j/repeat]
		}
	}
}

// join puts the codes of a block two into a byte: the first half of them into the
// low bits, the second into the high.
func join(b, code []byte) {
	low, high := code[:len(b)], code[len(b):]
	for j := range b {
		b[j] = low[j] | high[j]<<4
	}
}

// split is join's inverse.
func split(code, b []byte) {
	low, high := code[:len(b)], code[len(b):]
	for j, v := range b {
		low[j], high[j] = v&15, v>>4
	}
}
