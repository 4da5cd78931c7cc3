package quant

import (
	"encoding/binary"
	"math"
)

// nonlinear are the sixteen numbers, denser around zero, that the codes of the IQ4
// types stand for.
var nonlinear = []float32{
	-127, -104, -83, -65, -49, -35, -22, -10,
	1, 13, 25, 38, 53, 69, 89, 113,
}

// iq4_NL: blocks of 32 with a scale in half precision.
var iq4_NL = codec{
	block: 32, group: 32, bits: 4, levels: nonlinear,
	open: func(b []byte, g grid) {
		g.scale[0] = readHalf(b)
		split(g.code, b[2:18])
	},
	put: func(b, code []byte) { join(b[2:18], code) },
}

// iq4_XS: super-blocks of 256, with a scale of six bits for each 32 numbers: the two
// upper bits of all in two bytes, then the lower four, two to a byte.
var iq4_XS = codec{
	block: 256, group: 32, bits: 4, levels: nonlinear,
	open: func(b []byte, g grid) {
		d, high := readHalf(b), binary.LittleEndian.Uint16(b[2:])
		for i := range g.scale {
			s := int(b[4+i/2]>>(i%2*4)&15) | int(high>>(2*i)&3)<<4
			g.scale[i] = d * float32(s-32)
			split(g.code[32*i:][:32], b[8+16*i:][:16])
		}
	},
	put: func(b, code []byte) {
		for i := range 8 {
			join(b[8+16*i:][:16], code[32*i:][:32])
		}
	},
}

// mxfp4: blocks of 32 numbers of four bits, of which one is the sign, two the
// exponent and one the fraction, with a scale that is a power of two.
var mxfp4 = codec{
	block: 32, group: 32, bits: 4, levels: e2m1(),
	open: func(b []byte, g grid) {
		g.scale[0] = power(b[0])
		split(g.code, b[1:17])
	},
	put: func(b, code []byte) { join(b[1:17], code) },
}

// ollamaMXFP4 is the same with neighbours in a byte.
var ollamaMXFP4 = codec{
	block: 32, group: 32, bits: 4, levels: e2m1(),
	open: func(b []byte, g grid) {
		g.scale[0] = power(b[0])
		for j, v := range b[1:17] {
			g.code[2*j], g.code[2*j+1] = v&15, v>>4
		}
	},
	put: func(b, code []byte) {
		for j := range 16 {
			b[1+j] = code[2*j] | code[2*j+1]<<4
		}
	},
}

// e2m1 lists the numbers of four bits by their bits, twice as large as they are so
// that all are whole.
func e2m1() []float32 {
	levels := make([]float32, 16)
	for code := range 8 {
		exponent, fraction := code>>1, code&1
		x := float64(fraction) // subnormal
		if exponent > 0 {
			x = math.Ldexp(float64(2+fraction), exponent-1)
		}
		levels[code], levels[8+code] = float32(x), float32(-x)
	}
	return levels
}

// power is half the scale with the exponent e, for e2m1's doubled numbers.
func power(e byte) float32 { return float32(math.Ldexp(1, int(e)-128)) }
