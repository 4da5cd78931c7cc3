package quant

import "math"

// A line is how the codes of a group stand for numbers: scale·q + min.
type line struct{ scale, min float64 }

// code is the code nearest to x between low and high.
func (l line) code(x, low, high float64) float64 {
	if l.scale == 0 {
		return low
	}
	return min(max(math.RoundToEven((x-l.min)/l.scale), low), high)
}

// loss is the squared error of w on the line.
func (l line) loss(w []float32, low, high float64) (sum float64) {
	if l.scale == 0 {
		for _, x := range w {
			d := float64(x) - (l.scale*low + l.min)
			sum += d * d
		}
		return sum
	}
	per := 1 / l.scale
	for _, x := range w {
		q := min(max(math.RoundToEven((float64(x)-l.min)*per), low), high)
		d := float64(x) - (l.scale*q + l.min)
		sum += d * d
	}
	return sum
}

// fitScale finds the scale s for which numbers s·q, q = low … high around zero,
// come nearest to w in the sum of squares. It may be negative: then the side on
// which there is one more code is turned to the largest number.
func fitScale(w []float32, low, high float64) float64 {
	largest := 0.0
	for _, x := range w {
		if math.Abs(float64(x)) > math.Abs(largest) {
			largest = float64(x)
		}
	}
	best, least := 0.0, math.Inf(1)
	for _, reach := range [...]float64{low, low + 0.5, low * 1.07, low * 1.16, low * 1.27, high} {
		s := largest / reach
		for range 3 {
			if loss := (line{scale: s}).loss(w, low, high); loss < least {
				best, least = s, loss
			} else {
				break
			}
			s = projectScale(w, s, low, high)
		}
	}
	return best
}

// projectScale is the best scale for the codes that w has with the scale s.
func projectScale(w []float32, s, low, high float64) float64 {
	var wq, qq float64
	for _, x := range w {
		q := line{scale: s}.code(float64(x), low, high)
		wq += float64(x) * q
		qq += q * q
	}
	if qq == 0 {
		return s
	}
	return wq / qq
}

// fitLine finds the line whose numbers for 0 … high come nearest to w. With below
// its minimum is not above zero, as the K types need it.
func fitLine(w []float32, high float64, below bool) line {
	low, top := math.Inf(1), math.Inf(-1)
	for _, x := range w {
		low, top = min(low, float64(x)), max(top, float64(x))
	}
	if below {
		low, top = min(low, 0), max(top, 0)
	}
	var best line
	least := math.Inf(1)
	for _, inward := range [...]float64{0, 0.02, 0.05, 0.09, 0.14, 0.2} {
		l := line{(top - low) * (1 - 2*inward) / high, low + (top-low)*inward}
		if below {
			l.min = min(l.min, 0)
		}
		for range 4 {
			loss := l.loss(w, 0, high)
			if loss >= least {
				break
			}
			best, least = l, loss
			l = l.project(w, high, below)
		}
	}
	return best
}

// project is the best line for the codes that w has with l, by least squares.
func (l line) project(w []float32, high float64, below bool) line {
	var sw, sq, wq, qq float64
	for _, x := range w {
		q := l.code(float64(x), 0, high)
		sw += float64(x)
		sq += q
		wq += float64(x) * q
		qq += q * q
	}
	n := float64(len(w))
	spread := n*qq - sq*sq
	if spread <= 0 {
		return l
	}
	scale := (n*wq - sw*sq) / spread
	least := (sw - scale*sq) / n
	if below && least > 0 && qq > 0 {
		return line{scale: wq / qq}
	}
	return line{scale, least}
}
