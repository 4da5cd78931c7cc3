package quant

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pare/gguf"
)

// at computes a number from the parts, as a graph does.
func (p Packed) at(r, c int) float32 {
	var q byte
	if p.Bits == 8 {
		q = p.Q[r*p.Cols+c]
	} else {
		block, in := c/p.Block, c%p.Block
		q = p.Q[(r*p.Cols+block*p.Block)/2+in%(p.Block/2)] >> (in / (p.Block / 2) * 4) & 15
	}
	i := (r*p.Cols + c) / p.Block
	return p.Scale[i]*float32(q) + p.Min[i]
}

// The parts make the same numbers as Floats, bit for bit.
func TestPackIsExact(t *testing.T) {
	const rows, cols = 3, 512
	r := rand.New(rand.NewPCG(6, 6))
	for typ, c := range codecs {
		if c.levels != nil {
			continue
		}
		size, _ := typ.Bytes([]uint64{cols, rows})
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		p, err := Pack(typ, data, cols)
		if err != nil {
			t.Fatal(err)
		}
		if p.Rows != rows || p.Cols != cols || p.Bits == 4 != (c.bits <= 4) {
			t.Errorf("%v: %d×%d numbers of %d bits", typ, p.Rows, p.Cols, p.Bits)
		}
		w, _ := Floats(typ, data)
		for i, want := range w {
			if got := p.at(i/cols, i%cols); got != want && got-got == 0 {
				t.Fatalf("%v: number %d is %v, want %v", typ, i, got, want)
			}
		}
	}
}

// The layout is part of the contract, as graphs are built on it.
func TestPackedLayout(t *testing.T) {
	four := make([]byte, 18)
	four[1], four[2], four[17] = 0x3c, 0x21, 0x43 // d = 1
	p, err := Pack(gguf.Q4_0, four, 32)
	if err != nil {
		t.Fatal(err)
	}
	if want := append([]byte{0x21}, append(make([]byte, 14), 0x43)...); !slices.Equal(p.Q, want) || p.Block != 32 {
		t.Errorf("Q4_0 in blocks of %d: %x, want %x", p.Block, p.Q, want)
	}
	if p.Scale[0] != 1 || p.Min[0] != -8 {
		t.Errorf("Q4_0: %v·q + %v, want q - 8", p.Scale[0], p.Min[0])
	}

	two := make([]byte, 84)
	two[16] = 3 | 1<<2 // numbers 0 and 32
	two[16+8] = 2      // number 8
	if p, err = Pack(gguf.Q2_K, two, 256); err != nil {
		t.Fatal(err)
	}
	if p.Block != 16 || p.Q[0] != 0x23 || p.Q[16] != 1 {
		t.Errorf("Q2_K in blocks of %d: %x", p.Block, p.Q)
	}

	eight := make([]byte, 34)
	eight[2], eight[3] = 0x80, 0x7f // -128, 127
	if p, err = Pack(gguf.Q8_0, eight, 32); err != nil {
		t.Fatal(err)
	}
	if p.Q[0] != 0 || p.Q[1] != 255 || p.Q[2] != 128 {
		t.Errorf("Q8_0: %x", p.Q[:3])
	}
}

func TestPackRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		typ        gguf.TensorType
		size, cols int
		want       error // nil for any
	}{
		"code book":      {gguf.IQ2_S, 82, 256, ErrCodebook},
		"nonlinear":      {gguf.IQ4_NL, 18, 32, ErrNotAffine},
		"four-bit float": {gguf.MXFP4, 17, 32, ErrNotAffine},
		"plain":          {gguf.F16, 64, 32, nil},
		"half a row":     {gguf.Q4_0, 18, 64, nil},
		"half a block":   {gguf.Q4_0, 9, 32, nil},
		"narrow row":     {gguf.Q4_K, 144, 128, nil},
		"no columns":     {gguf.Q4_0, 18, 0, nil},
		"negative":       {gguf.Q4_0, 18, -32, nil},
	} {
		if _, err := Pack(c.typ, make([]byte, c.size), c.cols); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
