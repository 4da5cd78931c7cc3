package report

import (
	"math"
	"strconv"
)

// An axis is a scale with its ticks.
type axis struct {
	min, max float64
	log      bool
	ticks    []tick
}

type tick struct {
	value float64
	label string
}

// share is the place of v on the axis, 0..1; what lies beyond is put at its end.
func (a axis) share(v float64) float64 {
	v = min(max(v, a.min), a.max)
	if a.log {
		return math.Log(v/a.min) / math.Log(a.max/a.min)
	}
	return (v - a.min) / (a.max - a.min)
}

// wideRange is the ratio of the highest to the lowest value from which on a
// scale is logarithmic.
const wideRange = 8

// scaled is an axis from floor, or from below it where the series go there. It
// is logarithmic where their values are all above zero and range widely. prefix
// stands before the number of each tick.
func scaled(floor float64, prefix string, all ...[]point) axis {
	low, high := bounds(all)
	start := max(floor, low)
	if !(low > 0) || math.IsInf(high, 0) || high <= wideRange*start {
		return linear(floor, prefix, all...)
	}
	a := axis{min: min(start, low), max: high, log: true}
	room := math.Pow(a.max/a.min, .04)
	a.min, a.max = a.min/room, a.max*room
	a.ticks = decades(a.min, a.max, prefix)
	return a
}

// linear is an axis from floor, or from below it where the series go there.
// There is room at its ends, but not below a floor of zero.
func linear(floor float64, prefix string, all ...[]point) axis {
	low, high := bounds(all)
	if !(high >= low) {
		low, high = floor, floor+1
	}
	a := axis{min: min(floor, low), max: max(floor, high)}
	if a.max == a.min {
		a.max++
	}
	room := .06 * (a.max - a.min)
	a.max += room
	if a.min != 0 {
		a.min -= room
	}
	a.ticks = even(a.min, a.max, 6, prefix)
	return a
}

// bounds are the lowest and the highest value of some series; the lowest is
// above the highest where there is none.
func bounds(all [][]point) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, points := range all {
		for _, q := range points {
			low, high = min(low, q.low), max(high, q.high)
		}
	}
	return low, high
}

// even are ticks at multiples of 1, 2 or 5 times a power of ten, about n of them.
func even(low, high float64, n int, prefix string) []tick {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(n))))
	for _, m := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*m) <= float64(n) {
			step *= m
			break
		}
	}
	var ticks []tick
	for i := math.Ceil(low/step - 1e-9); i <= high/step+1e-9; i++ {
		v := math.Round(i*step*1e9) / 1e9
		ticks = append(ticks, tick{v, prefix + trimmed(v)})
	}
	return ticks
}

// decades are ticks of a logarithmic axis: 1, 2 and 5 in each power of ten, or
// powers alone where there are many.
func decades(low, high float64, prefix string) []tick {
	steps := []float64{1, 2, 5}
	each := 1.0
	if span := math.Log10(high / low); span > 3 {
		steps, each = []float64{1}, math.Ceil(span/8)
	}
	var ticks []tick
	for e := math.Floor(math.Log10(low)); e <= math.Log10(high); e++ {
		for _, m := range steps {
			if v := m * math.Pow(10, e); v >= low && v <= high && math.Mod(e, each) == 0 {
				ticks = append(ticks, tick{v, prefix + trimmed(v)})
			}
		}
	}
	return ticks
}

func trimmed(v float64) string {
	if v = math.Round(v*1e9) / 1e9; math.Abs(v) >= 1e6 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(v+0, 'f', -1, 64)
}

// counted is an axis for the given whole numbers, in rising order, with a tick
// at each or at as many as have room, and with some room at its ends.
func counted(at []int, room float64) axis {
	low, high := float64(at[0]), float64(at[len(at)-1])
	a := axis{min: low - room, max: high + room}
	skip := (len(at) + 19) / 20
	for i, n := range at {
		if i%skip == 0 {
			a.ticks = append(a.ticks, tick{float64(n), strconv.Itoa(n)})
		}
	}
	return a
}
