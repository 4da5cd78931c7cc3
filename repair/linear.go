package repair

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"
)

// The closed form of ReplaceMe (arXiv 2505.02819), for layers a..a+n-1 removed.
// With M the output of the feed-forward of layer a-1, Y the residual that it is
// added to, and x_{a+n} what entered the layer after the cut before there was one,
// it looks for the linear map T for which M·T + Y is nearest to x_{a+n}. T goes into
// the matrix that M comes out of, so the model keeps its shape and its speed.
//
// Written T = I + D, the cut alone is D = 0, and with the residual x_a = M + Y
//
//	D = argmin |M·D - (x_{a+n} - x_a)|² + λ|D|² = (MᵀM + λI)⁻¹ Mᵀ(x_{a+n} - x_a)
//
// so that the ridge λ draws towards the cut alone rather than towards nothing.

// Moments are what the closed form needs of a text, summed over its tokens in
// float64. M has a row for each token, R = x_{a+n} - x_a too.
type Moments struct {
	Tokens int64
	Hidden int              // H
	Gram   blas64.Symmetric // MᵀM [H,H], the upper triangle
	Cross  blas64.General   // MᵀR [H,H]
	Rest   float64          // Σ|R|²
}

// NewMoments returns empty moments for hidden width h.
func NewMoments(h int) *Moments {
	return &Moments{
		Hidden: h,
		Gram:   blas64.Symmetric{N: h, Stride: h, Data: make([]float64, h*h), Uplo: blas.Upper},
		Cross:  blas64.General{Rows: h, Cols: h, Stride: h, Data: make([]float64, h*h)},
	}
}

// Add takes in a document of T tokens: attended is Y, before is x_a and after is
// x_{a+n}, each T×H, row by row. The first skip tokens are left out: the one that
// begins a text is an attention sink, whose norm outweighs all the others.
func (m *Moments) Add(attended, before, after []float32, skip int) error {
	h := m.Hidden
	if len(attended)%h != 0 || len(before) != len(attended) || len(after) != len(attended) {
		return fmt.Errorf("add to the moments: %d, %d and %d numbers are not rows of %d", len(attended), len(before), len(after), h)
	}
	rows := len(attended)/h - skip
	if rows <= 0 {
		return nil
	}
	out := blas64.General{Rows: rows, Cols: h, Stride: h, Data: make([]float64, rows*h)}
	rest := blas64.General{Rows: rows, Cols: h, Stride: h, Data: make([]float64, rows*h)}
	for i := range out.Data {
		y, x, aim := float64(attended[skip*h+i]), float64(before[skip*h+i]), float64(after[skip*h+i])
		out.Data[i], rest.Data[i] = x-y, aim-x
		m.Rest += (aim - x) * (aim - x)
	}
	if math.IsNaN(m.Rest) || math.IsInf(m.Rest, 0) {
		return errors.New("add to the moments: the model computes numbers that are not finite")
	}
	blas64.Syrk(blas.Trans, 1, out, 1, m.Gram)
	blas64.Gemm(blas.Trans, blas.NoTrans, 1, out, rest, 1, m.Cross)
	m.Tokens += int64(rows)
	return nil
}

// ridges are the λ that are tried, as shares of the mean diagonal of MᵀM.
var ridges = []float64{1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1}

// ErrNoGain says that the closed form does not help on text that it was not fitted to.
var ErrNoGain = errors.New("no linear map brings the residual nearer to the uncut model's on held-out text")

// A Map is D of the closed form.
type Map struct {
	D     blas64.General // [H,H]
	Ridge float64        // share of the mean diagonal of MᵀM
	Error float64        // what is left of Σ|R|² on held-out text, as a share
}

// Fit solves for D on fit with each ridge and takes the one that does best on
// held. It returns ErrNoGain where the cut alone does as well.
func Fit(fit, held *Moments) (Map, error) {
	if fit.Tokens == 0 || held.Tokens == 0 || held.Rest == 0 {
		return Map{}, errors.New("fit the linear map: there is no text to fit to and to hold out; give more")
	}
	best := Map{Error: 1}
	scale := 0.
	for i := range fit.Hidden {
		scale += fit.Gram.Data[i*fit.Hidden+i] / float64(fit.Hidden)
	}
	for _, ridge := range ridges {
		d, ok := fit.solve(ridge * scale)
		if !ok {
			continue // singular at so small a ridge
		}
		if e := held.left(d); e < best.Error {
			best = Map{D: d, Ridge: ridge, Error: e}
		}
	}
	if best.D.Data == nil {
		return best, ErrNoGain
	}
	return best, nil
}

// solve returns (MᵀM + λI)⁻¹ MᵀR, or false if that does not exist.
func (m *Moments) solve(lambda float64) (blas64.General, bool) {
	h := m.Hidden
	gram := mat.NewSymDense(h, append([]float64(nil), m.Gram.Data...))
	for i := range h {
		gram.SetSym(i, i, gram.At(i, i)+lambda)
	}
	var factor mat.Cholesky
	if !factor.Factorize(gram) {
		return blas64.General{}, false
	}
	var d mat.Dense
	if err := factor.SolveTo(&d, mat.NewDense(h, h, m.Cross.Data)); err != nil {
		return blas64.General{}, false
	}
	return d.RawMatrix(), true
}

// left is |M·D - R|² as a share of |R|²: (Σ|R|² - 2 tr(Dᵀ MᵀR) + tr(Dᵀ MᵀM D)) / Σ|R|².
func (m *Moments) left(d blas64.General) float64 {
	h := m.Hidden
	gd := blas64.General{Rows: h, Cols: h, Stride: h, Data: make([]float64, h*h)}
	blas64.Symm(blas.Left, 1, m.Gram, d, 0, gd)
	sum := m.Rest
	for i := range h {
		row := d.Data[i*d.Stride : i*d.Stride+h]
		for j, v := range row {
			sum += v * (gd.Data[i*h+j] - 2*m.Cross.Data[i*h+j])
		}
	}
	return sum / m.Rest
}

// Fold returns what w becomes with the map behind it: w has rows of in numbers, as
// ggml stores the matrix that M comes out of, and its H·E rows are those of E
// experts, one after another; E is 1 where there are none. Tᵀw = w + Dᵀw.
func (f Map) Fold(w []float32, in int) ([]float32, error) {
	h := f.D.Rows
	if in <= 0 || len(w)%(h*in) != 0 || len(w) == 0 {
		return nil, fmt.Errorf("fold the linear map: a matrix of %d numbers in rows of %d does not come out at width %d", len(w), in, h)
	}
	out := make([]float32, 0, len(w))
	old := blas64.General{Rows: h, Cols: in, Stride: in, Data: make([]float64, h*in)}
	added := blas64.General{Rows: h, Cols: in, Stride: in, Data: make([]float64, h*in)}
	for ; len(w) > 0; w = w[h*in:] {
		for i, v := range w[:h*in] {
			old.Data[i] = float64(v)
		}
		blas64.Gemm(blas.Trans, blas.NoTrans, 1, f.D, old, 0, added)
		for i, v := range added.Data {
			out = append(out, float32(old.Data[i]+v))
		}
	}
	return out, nil
}
