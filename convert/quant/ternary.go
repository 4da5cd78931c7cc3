package quant

// The ternary types: 256 numbers -d, 0 or d.

// tq2_0: planes of two bits, then d.
var tq2_0 = codec{
	block: 256, group: 256, bits: 2, scaleAt: 64,
	open: func(b []byte, g grid) {
		g.scale[0] = readHalf(b[64:])
		g.min[0] = -g.scale[0]
		clear(g.code)
		readPlanes(g.code, b[:64], 2, 0)
	},
	put: func(b, code []byte) { writePlanes(b[:64], code, 2, 0) },
}

// tq1_0: five numbers to a byte, then four, then d. A byte is a fraction of 256
// whose digits to the base 3 are the numbers.
var tq1_0 = codec{
	block: 256, group: 256, bits: 2, scaleAt: 52,
	open: func(b []byte, g grid) {
		g.scale[0] = readHalf(b[52:])
		g.min[0] = -g.scale[0]
		code := g.code
		for _, run := range ternaryRuns {
			for j, v := range b[run.from:run.to] {
				for n := range run.digits {
					code[n*(run.to-run.from)+j] = byte(uint16(v) * 3 >> 8)
					v *= 3
				}
			}
			code = code[run.digits*(run.to-run.from):]
		}
	},
	put: func(b, code []byte) {
		for _, run := range ternaryRuns {
			for j := range run.to - run.from {
				sum := 0
				for n := range 5 {
					sum *= 3
					if n < run.digits {
						sum += int(code[n*(run.to-run.from)+j])
					}
				}
				b[run.from+j] = byte((sum*256 + 242) / 243) // rounded up, so that the digits come out again
			}
			code = code[run.digits*(run.to-run.from):]
		}
	},
}

// ternaryRuns are the bytes of tq1_0 that hold their numbers alike: the first
// digits of all bytes come first, then the second, and so on.
var ternaryRuns = []struct{ from, to, digits int }{{0, 32, 5}, {32, 48, 5}, {48, 52, 4}}
