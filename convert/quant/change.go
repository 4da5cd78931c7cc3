package quant

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"
)

// sketchWidth is how many random sums of a change's rows stand for all of them. Of
// a change of rank 8 to 16 they lose nothing.
const sketchWidth = 32

// caution is how much the size of each single error counts against keeping the
// change in its own directions. Tried on inputs whose variance falls off as a power
// law: with less, more survives of a change that lies in the inputs' directions, and
// one that does not is drowned in more noise; with more it is the other way round.
const caution = 10

// A sketch holds, for each column, sketchWidth random sums of a change's rows,
// scaled so that the mean square of a column is 1.
type sketch []float64

// sketchOf sums the rows of a change with random signs, the same each time. row
// computes row r of it. The sketch of no change is nil.
func sketchOf(rows, cols int, row func(r int, change []float64)) sketch {
	s := make(sketch, cols*sketchWidth)
	change := make([]float64, cols)
	signs := rand.New(rand.NewPCG(1, 2))
	for r := range rows {
		row(r, change)
		bits := signs.Uint32()
		for j, x := range change {
			for k := range sketchWidth {
				s[j*sketchWidth+k] += math.Copysign(1, float64(bits>>k&1)-0.5) * x
			}
		}
	}
	size := floats.Norm(s, 2)
	if size == 0 {
		return nil
	}
	floats.Scale(math.Sqrt(float64(cols))/size, s)
	return s
}

// keep rounds so that the errors of a row cancel in the directions of the change,
// as nothing is known of the inputs. Each number takes the code that makes
// |Σ errors·sketch|² + caution·error² smallest, given the columns before.
func (b band) keep(s sketch) {
	sum := make([]float64, sketchWidth)
	for r := range b.rows {
		clear(sum)
		for j := range b.cols {
			i, column := r*b.cols+j, s[j*sketchWidth:][:sketchWidth]
			wanted := float64(b.w[i])
			push := floats.Dot(column, sum) / (caution + floats.Dot(column, column))
			code, value := b.ruler(i).read(wanted - push)
			b.code[i] = code
			floats.AddScaled(sum, value-wanted, column)
		}
	}
}
