package quant

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"pare/gguf"
)

// A written block is built from the format's definition: the bytes that are not
// zero, and the numbers that they mean.
type written struct {
	typ   gguf.TensorType
	bytes map[int]byte
	fill  byte // of the other bytes from byte from
	from  int
	rest  float32 // what numbers are that want does not list
	spans []span  // before want
	want  map[int]float32
}

// span says that numbers from … to-1 are value.
type span struct {
	from, to int
	value    float32
}

var writtenBlocks = []written{
	{typ: gguf.Q4_0, bytes: map[int]byte{1: 0x40, 2: 0x9f}, from: 2, fill: 0x88, // d = 2
		want: map[int]float32{0: 14, 16: 2}},
	{typ: gguf.Q4_1, bytes: map[int]byte{1: 0x38, 3: 0x3e, 4: 0x21}, rest: 1.5, // d = 0.5, m = 1.5
		want: map[int]float32{0: 2, 16: 2.5}},
	{typ: gguf.Q5_0, bytes: map[int]byte{1: 0x3c, 2: 1, 4: 2, 6: 5, 7: 0x30}, rest: -16, // d = 1
		want: map[int]float32{0: 5, 17: 3}},
	{typ: gguf.Q5_1, bytes: map[int]byte{1: 0x3c, 3: 0xbc, 7: 0x80, 23: 0xf2}, rest: -1, // d = 1, m = -1
		want: map[int]float32{15: 1, 31: 30}},
	{typ: gguf.Q8_0, bytes: map[int]byte{1: 0xb4, 2: 0x7f, 33: 0x80}, // d = -0.25
		want: map[int]float32{0: -31.75, 31: 32}},

	// d = 0.5, dmin = 0.25; group 0: scale 1, minimum 2; group 3: 15, 0; group 14: 2, 1.
	{typ: gguf.Q2_K, bytes: map[int]byte{0: 0x21, 3: 0x0f, 14: 0x12, 16: 3, 32: 2 << 2, 48: 3 << 6, 81: 0x38, 83: 0x34},
		spans: []span{{0, 16, -0.5}, {224, 240, -0.25}},
		want:  map[int]float32{0: 1, 48: 15, 224: 2.75}},

	// d = 1; group 0: scale 33-32; group 13: 34-32; the others: -32.
	{typ: gguf.Q3_K, bytes: map[int]byte{0: 1, 16: 1 << 6, 32: 1, 80: 3 << 4, 96: 1, 101: 2 << 4, 104: 2, 105: 2 << 6, 109: 0x3c},
		rest: 128, spans: []span{{0, 16, -4}, {208, 224, -8}},
		want: map[int]float32{0: 1, 208: 6}},

	// d = 1, dmin = 0.5; group 0: scale 1, minimum 2; group 1: 63, 0; group 5: 33, 17.
	{typ: gguf.Q4_K, bytes: map[int]byte{1: 0x3c, 3: 0x38, 4: 1, 5: 63 | 2<<6, 8: 2, 9: 1 << 6, 13: 1 | 1<<4, 16: 0x9f, 80: 2 << 4},
		spans: []span{{0, 32, -1}, {160, 192, -8.5}},
		want:  map[int]float32{0: 14, 32: 567, 160: 57.5}},
	{typ: gguf.Q5_K, bytes: map[int]byte{1: 0x3c, 3: 0x38, 4: 1, 5: 63, 8: 2, 16: 1 << 1, 48: 0x9f},
		spans: []span{{0, 32, -1}},
		want:  map[int]float32{0: 14, 32: 25 * 63}},

	// d = 0.5; group 0: scale 2; group 4: -1; group 15: 127.
	{typ: gguf.Q6_K, bytes: map[int]byte{0: 0x4f, 127: 1 << 4, 128: 3, 191: 2 << 6, 192: 2, 196: 0xff, 207: 127, 209: 0x38},
		spans: []span{{0, 16, -32}, {64, 80, 16}, {240, 256, -2032}},
		want:  map[int]float32{0: 31, 64: 14, 255: 63.5}},

	// d = 1.5
	{typ: gguf.TQ2_0, bytes: map[int]byte{0: 2 | 1<<2 | 2<<6, 65: 0x3e}, rest: -1.5,
		want: map[int]float32{0: 1.5, 32: 0, 96: 1.5}},
	// d = 1; 181/256 is 0.20100… to the base 3, 7/256 is 0.0002…
	{typ: gguf.TQ1_0, bytes: map[int]byte{0: 181, 51: 7, 53: 0x3c}, rest: -1,
		want: map[int]float32{0: 1, 64: 0, 255: 1}},

	{typ: gguf.IQ4_NL, bytes: map[int]byte{1: 0x40, 2: 0x0f}, from: 2, fill: 0x88, rest: 2, // d = 2
		want: map[int]float32{0: 226, 16: -254}},
	// d = 1; group 1: scale 33-32, the others -32
	{typ: gguf.IQ4_XS, bytes: map[int]byte{1: 0x3c, 2: 2 << 2, 4: 1 << 4, 24: 0xf0}, rest: 32 * 127,
		spans: []span{{32, 64, -127}}, want: map[int]float32{48: 113}},

	{typ: gguf.MXFP4, bytes: map[int]byte{0: 128, 1: 0x97}, want: map[int]float32{0: 12, 16: -1}},                             // scale 2
	{typ: gguf.OllamaMXFP4, bytes: map[int]byte{0: 126, 1: 0xb5, 16: 0x20}, want: map[int]float32{0: 1.5, 1: -0.75, 31: 0.5}}, // scale ½

	{typ: gguf.F32, bytes: map[int]byte{2: 0xc0, 3: 0x3f}, want: map[int]float32{0: 1.5}},
	{typ: gguf.F64, bytes: map[int]byte{6: 0xf8, 7: 0x3f}, want: map[int]float32{0: 1.5}},
	{typ: gguf.F16, bytes: map[int]byte{0: 1}, want: map[int]float32{0: 1. / (1 << 24)}},
	{typ: gguf.BF16, bytes: map[int]byte{0: 0xc0, 1: 0xbf}, want: map[int]float32{0: -1.5}},
}

func (b written) block() []byte {
	out := make([]byte, b.typ.TypeSize())
	for i := b.from; i < len(out); i++ {
		out[i] = b.fill
	}
	for i, v := range b.bytes {
		out[i] = v
	}
	return out
}

func (b written) numbers() []float32 {
	w := make([]float32, b.typ.BlockSize())
	for _, s := range append([]span{{0, len(w), b.rest}}, b.spans...) {
		for i := s.from; i < s.to; i++ {
			w[i] = s.value
		}
	}
	for i, x := range b.want {
		w[i] = x
	}
	return w
}

func TestWrittenBlocks(t *testing.T) {
	for _, b := range writtenBlocks {
		got, err := Floats(b.typ, b.block())
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range b.numbers() {
			if got[i] != want {
				t.Errorf("%v: number %d is %v, want %v", b.typ, i, got[i], want)
			}
		}
	}
}

// What is put into a block is what is taken out of it, whatever the bytes.
func TestCodesSurvive(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for typ, c := range codecs {
		block := make([]byte, typ.TypeSize())
		for i := range block {
			block[i] = byte(r.Uint32())
		}
		before, after := c.grid(), c.grid()
		c.open(block, before)
		for i := range before.code {
			before.code[i] = byte(r.IntN(int(c.high()) + 1))
		}
		c.put(block, before.code)
		c.open(block, after)
		for i := range before.code {
			if after.code[i] != before.code[i] {
				t.Fatalf("%v: code %d is %d, was %d", typ, i, after.code[i], before.code[i])
			}
		}
		for i := range before.scale {
			if math.Float32bits(after.scale[i]) != math.Float32bits(before.scale[i]) {
				t.Fatalf("%v: scale %d is %v, was %v", typ, i, after.scale[i], before.scale[i])
			}
		}
	}
}

func TestHalfPrecision(t *testing.T) {
	for h := range 1 << 16 {
		x := half(uint16(h))
		if x != x {
			if y := half(toHalf(x)); y == y {
				t.Errorf("%#x is not a number and becomes %v", h, y)
			}
		} else if got := toHalf(x); got != uint16(h) {
			t.Errorf("%#x is %v and becomes %#x", h, x, got)
		}
	}
	for x, want := range map[float32]uint16{
		1 + 1./2048: 0x3c00, 1 + 3./2048: 0x3c02, // ties go to the even one
		65519: 0x7bff, 65520: 0x7c00, -1e9: 0xfc00,
		1. / (1 << 25): 0, 3. / (1 << 25): 2, 1. / (1 << 26): 0,
		0.00006102: 0x0400, // the largest subnormal rounds up into the normal ones
	} {
		if got := toHalf(x); got != want {
			t.Errorf("%v becomes %#x, want %#x", x, got, want)
		}
	}
	for x, want := range map[float32]uint16{1: 0x3f80, 1 + 1./256: 0x3f80, 1 + 3./256: 0x3f82} {
		if got := toBrain(x); got != want {
			t.Errorf("%v becomes %#x in BF16, want %#x", x, got, want)
		}
	}
}

func TestCodeBooks(t *testing.T) {
	for _, typ := range []gguf.TensorType{gguf.IQ1_S, gguf.IQ2_XXS, gguf.IQ3_S} {
		if _, err := Floats(typ, make([]byte, typ.TypeSize())); !errors.Is(err, ErrCodebook) {
			t.Errorf("%v: %v, want ErrCodebook", typ, err)
		}
	}
	for _, typ := range []gguf.TensorType{gguf.Q8_K, gguf.Q8_1, gguf.I32, 5, 999} {
		if _, err := Floats(typ, make([]byte, typ.TypeSize())); err == nil || errors.Is(err, ErrCodebook) {
			t.Errorf("%v: %v, want another error", typ, err)
		}
	}
}
