package quant

import (
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"

	"pare/gguf"
)

// sweeps is how often refine goes over a matrix. Each one more gains less.
const sweeps = 3

// refine makes eᵀ·H·e of each row smaller than feedback left it, for the errors e of
// its numbers and the moments H of the inputs. It goes over the blocks in turns: their
// half-precision factors take the values that are best given all codes (a least squares
// problem of two unknowns), then each number takes the code that is best given all
// others. No turn makes the error larger. Coordinate descent over codes is QuantEase's
// (arXiv 2309.01885).
func (b band) refine(h *Moments, t gguf.TensorType, blocks []byte) {
	r := refiner{band: b, damp: h.damp(), blocks: blocks, size: int(t.TypeSize())}
	r.errors = make([]float64, b.rows*b.cols)
	for i := range r.errors {
		r.errors[i] = b.value(i) - float64(b.w[i])
	}
	errors := blas64.General{Rows: b.rows, Cols: b.cols, Stride: b.cols, Data: r.errors}
	pull := blas64.General{Rows: b.rows, Cols: b.cols, Stride: b.cols, Data: make([]float64, b.rows*b.cols)}
	moments := blas64.General{Rows: h.N, Cols: h.N, Stride: h.N, Data: h.Mean}
	blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, errors, moments, 0, pull)

	n := b.c.block
	change := blas64.General{Rows: b.rows, Cols: n, Stride: n, Data: make([]float64, b.rows*n)}
	for range sweeps {
		for from := 0; from < b.cols; from += n {
			r.enter(h, from)
			for row := range b.rows {
				r.settle(row, pull.Data[row*b.cols+from:][:n], change.Data[row*n:][:n])
			}
			across := blas64.General{Rows: n, Cols: h.N, Stride: h.N, Data: h.Mean[from*h.N:]}
			blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, change, across, 1, pull)
		}
	}
}

// value is the number that stands at i.
func (b band) value(i int) float64 {
	r := b.ruler(i)
	if r.levels != nil {
		return r.scale * float64(r.levels[b.code[i]])
	}
	return r.scale*float64(b.code[i]) + r.min
}

// A refiner is a band whose errors shrink.
type refiner struct {
	band
	damp   float64
	blocks []byte
	size   int       // of a block, in bytes
	errors []float64 // rows×cols: what stands there, less what is wanted

	from    int         // first column of the blocks that are dealt with
	moments [][]float64 // of these columns, damped
}

// enter turns to the blocks that begin in a column.
func (r *refiner) enter(h *Moments, from int) {
	n := r.c.block
	r.from, r.moments = from, make([][]float64, n)
	for i := range n {
		r.moments[i] = slices.Clone(h.Mean[(from+i)*h.N+from:][:n])
		r.moments[i][i] += r.damp
	}
}

// settle finds better factors and codes for a row's block. pull is half of what the
// squared error's gradient is there, without damping; change is told what the numbers
// of the block change by.
func (r *refiner) settle(row int, pull, change []float64) {
	at := row*r.cols + r.from
	errors := r.errors[at:][:r.c.block]
	copy(change, errors)
	gradient := slices.Clone(pull)
	floats.AddScaled(gradient, r.damp, errors)
	if r.c.levels == nil {
		r.rescale(at, gradient)
	}
	for j := range errors {
		slope := gradient[j]
		if slope == 0 {
			continue
		}
		ruler := r.ruler(at + j)
		now := float64(r.w[at+j]) + errors[j]
		code, value := ruler.read(now - slope/r.moments[j][j])
		if code == r.code[at+j] {
			continue
		}
		r.code[at+j] = code
		errors[j] += value - now
		floats.AddScaled(gradient, value-now, r.moments[j])
	}
	for j, e := range errors {
		change[j] = e - change[j]
	}
}

// rescale gives the block that begins at a number the factors of scale and minimum that
// are best for its codes.
func (r *refiner) rescale(at int, gradient []float64) {
	n := r.c.block
	scaled, least := make([]float64, n), make([]float64, n) // what each factor is multiplied by: the number is their sum
	for j := range n {
		ruler := r.ruler(at + j)
		scaled[j], least[j] = ruler.scale*float64(r.code[at+j]), ruler.min
	}
	if r.c.minAt == 0 { // one factor for both
		floats.Add(scaled, least)
		clear(least)
	}
	byScale, byLeast := bestShares(r.moments, gradient, scaled, least)
	block := r.blocks[at/n*r.size:][:r.size]
	before := slices.Clone(block)
	multiply(block[r.c.scaleAt:], byScale)
	if r.c.minAt != 0 {
		multiply(block[r.c.minAt:], byLeast)
	}
	if slices.Equal(block, before) {
		return
	}
	r.reopen(at, block)
	change := make([]float64, n)
	for j := range n {
		change[j] = r.value(at+j) - float64(r.w[at+j]) - r.errors[at+j]
	}
	pulled := times(r.moments, change)
	if 2*floats.Dot(change, gradient)+floats.Dot(change, pulled) >= 0 { // half precision made it no better
		copy(block, before)
		r.reopen(at, block)
		return
	}
	floats.Add(r.errors[at:][:n], change)
	floats.Add(gradient, pulled)
}

// reopen reads the scales of a block again; the codes are those of the band.
func (r *refiner) reopen(at int, block []byte) {
	n, groups := r.c.block, r.c.block/r.c.group
	i := at / n * groups
	r.c.open(block, grid{make([]byte, n), r.scale[i:][:groups], r.min[i:][:groups]})
}

// bestShares returns s and m for which the change s·scaled + m·least brings the squared
// error down most, given its half gradient.
func bestShares(moments [][]float64, gradient, scaled, least []float64) (s, m float32) {
	ofScaled, ofLeast := times(moments, scaled), times(moments, least)
	ss, sm, mm := floats.Dot(scaled, ofScaled), floats.Dot(scaled, ofLeast), floats.Dot(least, ofLeast)
	gs, gm := -floats.Dot(gradient, scaled), -floats.Dot(gradient, least)
	const independent = 1e-6 // of ss·mm: with less the two are one direction
	switch volume := ss*mm - sm*sm; {
	case volume > independent*ss*mm:
		return float32((gs*mm - gm*sm) / volume), float32((gm*ss - gs*sm) / volume)
	case ss > 0:
		return float32(gs / ss), 0
	}
	return 0, 0
}

func times(m [][]float64, x []float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		if v != 0 {
			floats.AddScaled(y, v, m[i])
		}
	}
	return y
}
