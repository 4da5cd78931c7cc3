package quant

import "gonum.org/v1/gonum/floats"

// feedback rounds with the moments L·Lᵀ of the inputs: it makes |Lᵀe|² small, the
// mean square of what the errors e of a row do to the output.
//
// Entry j of Lᵀe depends on e_j and the columns after it, in the factor's order. So
// the columns are rounded from the last to the first, and each takes the code that
// brings its entry nearest to zero, given what was rounded before. That is GPTQ (arXiv 2210.17323)
// in the form of Babai's nearest plane (arXiv 2507.18553), which needs no inverse.
func (b band) feedback(f factor) {
	sums := make([]float64, b.rows*b.cols) // of L[j, :]·e_j over the places j that are done
	for j := b.cols - 1; j >= 0; j-- {
		factor := f.lower[j]
		for r := range b.rows {
			i, at := r*b.cols+f.order[j], r*b.cols+j
			wanted := float64(b.w[i])
			code, value := b.ruler(i).read(wanted - sums[at]/factor[j])
			b.code[i] = code
			floats.AddScaled(sums[at-j:at], value-wanted, factor[:j])
		}
	}
}
