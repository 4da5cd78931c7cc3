package quant

// The legacy types: blocks of 32 numbers with a scale d, and in the _1 types a
// minimum m, in half precision; then the fifth bits of the numbers, if there are,
// then the lower four as in Packed.

var q4_0 = codec{
	block: 32, group: 32, bits: 4,
	open: func(b []byte, g grid) {
		g.scale[0] = readHalf(b)
		g.min[0] = -8 * g.scale[0]
		split(g.code, b[2:18])
	},
	put: func(b, code []byte) { join(b[2:18], code) },
	fit: func(b []byte, w []float32) { writeHalf(b, nearHalf(fitScale(w, -8, 7))) },
}

var q4_1 = codec{
	block: 32, group: 32, bits: 4, minAt: 2,
	open: func(b []byte, g grid) {
		g.scale[0], g.min[0] = readHalf(b), readHalf(b[2:])
		split(g.code, b[4:20])
	},
	put: func(b, code []byte) { join(b[4:20], code) },
	fit: func(b []byte, w []float32) { fitPair(b, w, 15) },
}

var q5_0 = codec{
	block: 32, group: 32, bits: 5,
	open: func(b []byte, g grid) {
		g.scale[0] = readHalf(b)
		g.min[0] = -16 * g.scale[0]
		splitFifth(g.code, b[2:6], b[6:22])
	},
	put: func(b, code []byte) { joinFifth(b[2:6], b[6:22], code) },
	fit: func(b []byte, w []float32) { writeHalf(b, nearHalf(fitScale(w, -16, 15))) },
}

var q5_1 = codec{
	block: 32, group: 32, bits: 5, minAt: 2,
	open: func(b []byte, g grid) {
		g.scale[0], g.min[0] = readHalf(b), readHalf(b[2:])
		splitFifth(g.code, b[4:8], b[8:24])
	},
	put: func(b, code []byte) { joinFifth(b[4:8], b[8:24], code) },
	fit: func(b []byte, w []float32) { fitPair(b, w, 31) },
}

// q8_0 stores signed bytes, d·q; as codes they are raised by 128. ggml makes no
// use of -128, and not every kernel is ready for it.
var q8_0 = codec{
	block: 32, group: 32, bits: 8, low: 1,
	open: func(b []byte, g grid) {
		g.scale[0] = readHalf(b)
		g.min[0] = -128 * g.scale[0]
		for j, v := range b[2:34] {
			g.code[j] = v ^ 128
		}
	},
	put: func(b, code []byte) {
		for j, v := range code {
			b[2+j] = v ^ 128
		}
	},
	fit: func(b []byte, w []float32) { writeHalf(b, nearHalf(fitScale(w, -127, 127))) },
}

// fitPair writes the scale and the minimum that suit w.
func fitPair(b []byte, w []float32, high float64) {
	l := fitLine(w, high, false)
	writeHalf(b, nearHalf(l.scale))
	writeHalf(b[2:], nearHalf(l.min))
}

// splitFifth reads 32 codes of five bits. fifth has the upper bit of code j as its
// bit j.
func splitFifth(code, fifth, low []byte) {
	split(code, low)
	for j := range code {
		code[j] |= fifth[j/8] >> (j % 8) & 1 << 4
	}
}

func joinFifth(fifth, low, code []byte) {
	clear(fifth)
	for j := range low {
		low[j] = code[j]&15 | code[16+j]<<4
	}
	for j, v := range code {
		fifth[j/8] |= v >> 4 << (j % 8)
	}
}
