package quant

// The K types: super-blocks of 256 numbers, in groups of 16 or 32 whose scales and
// minima are small whole numbers, times one or two numbers in half precision.
//
// Codes lie in planes. A plane of 32 bytes holds, bits to a byte, several runs of 32
// neighbours: the first run in the lowest bits of the bytes, the next above.

// readPlanes adds the bits found in planes, shifted up by up, to code. Each byte
// holds 8/bits numbers.
func readPlanes(code, planes []byte, bits, up int) {
	mask := byte(1<<bits - 1)
	perPlane := 32 * 8 / bits
	for at := 0; at < len(code); at += 32 {
		plane := planes[at/perPlane*32:][:32]
		shift := at % perPlane / 32 * bits
		for j, v := range plane {
			code[at+j] |= v >> shift & mask << up
		}
	}
}

// writePlanes is readPlanes' inverse.
func writePlanes(planes, code []byte, bits, up int) {
	clear(planes)
	mask := byte(1<<bits - 1)
	perPlane := 32 * 8 / bits
	for at := 0; at < len(code); at += 32 {
		plane := planes[at/perPlane*32:][:32]
		shift := at % perPlane / 32 * bits
		for j := range plane {
			plane[j] |= code[at+j] >> up & mask << shift
		}
	}
}

// q2_K: 16 scales in the low and minima in the high half of a byte, the codes, d, dmin.
var q2_K = codec{
	block: 256, group: 16, bits: 2, scaleAt: 80, minAt: 82,
	open: func(b []byte, g grid) {
		d, dmin := readHalf(b[80:]), readHalf(b[82:])
		for i, v := range b[:16] {
			g.scale[i] = d * float32(v&15)
			g.min[i] = -dmin * float32(v>>4)
		}
		clear(g.code)
		readPlanes(g.code, b[16:80], 2, 0)
	},
	put: func(b, code []byte) { writePlanes(b[16:80], code, 2, 0) },
	fit: func(b []byte, w []float32) {
		d, dmin, scales, minima := fitLines(w, 16, 15, 3)
		for i := range scales {
			b[i] = scales[i] | minima[i]<<4
		}
		writeHalf(b[80:], d)
		writeHalf(b[82:], dmin)
	},
}

// q3_K: a plane of upper bits, planes of two lower bits, 16 scales of six bits, d.
var q3_K = codec{
	block: 256, group: 16, bits: 3, scaleAt: 108,
	open: func(b []byte, g grid) {
		d := readHalf(b[108:])
		for i := range g.scale {
			g.scale[i] = d * float32(int(scaleQ3(b[96:108], i))-32)
			g.min[i] = -4 * g.scale[i]
		}
		clear(g.code)
		readPlanes(g.code, b[32:96], 2, 0)
		readPlanes(g.code, b[:32], 1, 2)
	},
	put: func(b, code []byte) {
		writePlanes(b[32:96], code, 2, 0)
		writePlanes(b[:32], code, 1, 2)
	},
	fit: func(b []byte, w []float32) {
		d, scales := fitScales(w, 16, -32, 31, -4, 3)
		setScalesQ3(b[96:108], scales)
		writeHalf(b[108:], d)
	},
}

// scaleQ3 reads the i-th of 16 scales of six bits: four in a half of one of the first
// eight bytes, two in a quarter of one of the last four.
func scaleQ3(b []byte, i int) byte {
	return b[i%8]>>(i/8*4)&15 | b[8+i%4]>>(i/4*2)&3<<4
}

// setScalesQ3 writes them, signed.
func setScalesQ3(b []byte, scales []int) {
	clear(b)
	for i, s := range scales {
		v := byte(s + 32)
		b[i%8] |= v & 15 << (i / 8 * 4)
		b[8+i%4] |= v >> 4 << (i / 4 * 2)
	}
}

// q4_K: d, dmin, scales and minima of six bits, the codes.
var q4_K = codec{
	block: 256, group: 32, bits: 4, minAt: 2,
	open: func(b []byte, g grid) {
		openScales(b, g)
		clear(g.code)
		readPlanes(g.code, b[16:144], 4, 0)
	},
	put: func(b, code []byte) { writePlanes(b[16:144], code, 4, 0) },
	fit: func(b []byte, w []float32) { fitFront(b, w, 15) },
}

// q5_K: as q4_K, with a plane of fifth bits before the codes.
var q5_K = codec{
	block: 256, group: 32, bits: 5, minAt: 2,
	open: func(b []byte, g grid) {
		openScales(b, g)
		clear(g.code)
		readPlanes(g.code, b[48:176], 4, 0)
		readPlanes(g.code, b[16:48], 1, 4)
	},
	put: func(b, code []byte) {
		writePlanes(b[48:176], code, 4, 0)
		writePlanes(b[16:48], code, 1, 4)
	},
	fit: func(b []byte, w []float32) { fitFront(b, w, 31) },
}

// openScales reads what q4_K and q5_K have in front.
func openScales(b []byte, g grid) {
	d, dmin := readHalf(b), readHalf(b[2:])
	for i := range g.scale {
		s, m := scaleQ4(b[4:16], i)
		g.scale[i] = d * float32(s)
		g.min[i] = -dmin * float32(m)
	}
}

// fitFront writes it, for codes up to high.
func fitFront(b []byte, w []float32, high float64) {
	d, dmin, scales, minima := fitLines(w, 32, 63, high)
	writeHalf(b, d)
	writeHalf(b[2:], dmin)
	setScalesQ4(b[4:16], scales, minima)
}

// scaleQ4 reads the i-th of eight scales and minima of six bits. The first four of
// either are the low six bits of a byte; the others have four bits in a byte of
// their own and the upper two above those of the first four.
func scaleQ4(b []byte, i int) (scale, minimum byte) {
	if i < 4 {
		return b[i] & 63, b[4+i] & 63
	}
	return b[4+i]&15 | b[i-4]>>6<<4, b[4+i]>>4 | b[i]>>6<<4
}

func setScalesQ4(b, scales, minima []byte) {
	for i := range 4 {
		b[i] = scales[i] | scales[4+i]>>4<<6
		b[4+i] = minima[i] | minima[4+i]>>4<<6
		b[8+i] = scales[4+i]&15 | minima[4+i]<<4
	}
}

// q6_K: for each half of the numbers 64 bytes with their lower four bits, for each
// half 32 bytes with their upper two, 16 scales as signed bytes, d.
var q6_K = codec{
	block: 256, group: 16, bits: 6, scaleAt: 208,
	open: func(b []byte, g grid) {
		d := readHalf(b[208:])
		for i, v := range b[192:208] {
			g.scale[i] = d * float32(int8(v))
			g.min[i] = -32 * g.scale[i]
		}
		low, high := b[:128], b[128:192]
		clear(g.code)
		for at := 0; at < 256; at += 128 {
			split(g.code[at:][:128], low[at/2:][:64])
		}
		readPlanes(g.code, high, 2, 4)
	},
	put: func(b, code []byte) {
		low, high := b[:128], b[128:192]
		for at := 0; at < 256; at += 128 {
			for j := range 64 {
				low[at/2+j] = code[at+j]&15 | code[at+64+j]<<4
			}
		}
		writePlanes(high, code, 2, 4)
	},
	fit: func(b []byte, w []float32) {
		d, scales := fitScales(w, 16, -128, 127, -32, 31)
		for i, s := range scales {
			b[192+i] = byte(s)
		}
		writeHalf(b[208:], d)
	},
}
