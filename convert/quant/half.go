package quant

import (
	"encoding/binary"
	"math"
)

// half returns the number that IEEE 754's 16 bits h stand for.
func half(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10&31), uint32(h&0x3ff)
	switch exponent {
	case 0: // subnormal: fraction·2⁻²⁴
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*(1.0/(1<<24))))
	case 31: // infinite, or not a number
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// toHalf returns the 16 bits nearest to x, the even ones of two.
func toHalf(x float32) uint16 {
	b := math.Float32bits(x)
	sign, magnitude := uint16(b>>16&0x8000), b&^(1<<31)
	switch {
	case magnitude > 0xff<<23: // not a number
		return sign | 0x7e00
	case magnitude >= (127+16)<<23: // at least 65536
		return sign | 0x7c00
	case magnitude < (127-14)<<23: // subnormal: a whole number of 2⁻²⁴
		steps := math.RoundToEven(math.Abs(float64(x)) * (1 << 24))
		return sign | uint16(steps)
	}
	// The 13 bits that go decide; a carry out of the fraction raises the exponent.
	magnitude += 0xfff + magnitude>>13&1
	return sign | uint16(magnitude>>13-(127-15)<<10)
}

// toBrain returns the upper 16 bits of the nearest float32 that has no others.
func toBrain(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16) | 64 // stays not a number
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func readHalf(b []byte) float32 { return half(binary.LittleEndian.Uint16(b)) }

func writeHalf(b []byte, x float32) { binary.LittleEndian.PutUint16(b, toHalf(x)) }
