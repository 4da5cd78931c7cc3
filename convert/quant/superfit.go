package quant

import "math"

// fitScales finds scales for groups of size numbers of a super-block, as d times a
// whole number of low … high, for codes of codeLow … codeHigh around zero.
func fitScales(w []float32, size, low, high int, codeLow, codeHigh float64) (d float32, scales []int) {
	scales = make([]int, len(w)/size)
	wanted := make([]float64, len(scales))
	largest := 0.0
	for i := range scales {
		wanted[i] = fitScale(w[i*size:][:size], codeLow, codeHigh)
		if math.Abs(wanted[i]) > math.Abs(largest) {
			largest = wanted[i]
		}
	}
	d = nearHalf(largest / float64(low))
	if d == 0 {
		return 0, scales
	}
	for i := range scales {
		middle, least := steps(wanted[i], d, low, high), math.Inf(1)
		for s := max(middle-1, low); s <= min(middle+1, high); s++ {
			l := line{scale: float64(d) * float64(s)}
			if loss := l.loss(w[i*size:][:size], codeLow, codeHigh); loss < least {
				scales[i], least = s, loss
			}
		}
	}
	return d, scales
}

// fitLines finds lines for groups of size numbers, whose scales are d and whose
// minima -dmin times a whole number of 0 … high, for codes of 0 … codeHigh.
func fitLines(w []float32, size, high int, codeHigh float64) (d, dmin float32, scales, minima []byte) {
	n := len(w) / size
	scales, minima = make([]byte, n), make([]byte, n)
	wanted := make([]line, n)
	var scale, depth float64
	for i := range wanted {
		wanted[i] = fitLine(w[i*size:][:size], codeHigh, true)
		scale, depth = max(scale, wanted[i].scale), max(depth, -wanted[i].min)
	}
	d, dmin = nearHalf(scale/float64(high)), nearHalf(depth/float64(high))
	for i, l := range wanted {
		s, m := steps(l.scale, d, 0, high), steps(-l.min, dmin, 0, high)
		least := math.Inf(1)
		for s1 := max(s-1, 0); s1 <= min(s+1, high); s1++ {
			for m1 := max(m-1, 0); m1 <= min(m+1, high); m1++ {
				l := line{float64(d) * float64(s1), -float64(dmin) * float64(m1)}
				if loss := l.loss(w[i*size:][:size], 0, codeHigh); loss < least {
					scales[i], minima[i], least = byte(s1), byte(m1), loss
				}
			}
		}
	}
	return d, dmin, scales, minima
}

// steps is how many times d goes into x, about, of low … high: where d is small, half
// precision rounds it so much that x seems to be more steps than there are.
func steps(x float64, d float32, low, high int) int {
	if d == 0 {
		return 0
	}
	return min(max(int(math.RoundToEven(x/float64(d))), low), high)
}

// nearHalf is the nearest number in half precision, which has none above 65504.
func nearHalf(x float64) float32 {
	return half(toHalf(float32(min(max(x, -65504), 65504))))
}
