package engine

// #include "logits.h"
import "C"

import (
	"math"
	"sync/atomic"
	"unsafe"
)

// likeliest finds in each row of logits the n most likely tokens, the most likely
// first and of equals the first of the vocabulary, and the natural logarithms of their
// probabilities, one row after another. bad is a row in which not all logits are
// finite, or -1.
func likeliest(logits [][]float32, n int) (tokens []int32, logProb []float32, bad int) {
	tokens, logProb = make([]int32, len(logits)*n), make([]float32, len(logits)*n)
	var broken atomic.Int64
	broken.Store(-1)
	spread(len(logits), func(i int) {
		x := logits[i]
		top, p := tokens[i*n:(i+1)*n], logProb[i*n:(i+1)*n]
		r := readRow(x)
		if !sound(r) {
			broken.Store(int64(i))
			return
		}
		C.row_top((*C.float)(unsafe.SliceData(x)), C.int(len(x)), (*C.int32_t)(unsafe.SliceData(top)), C.int(n))
		shift := float64(r.max) + math.Log(float64(r.sum))
		for j, t := range top {
			p[j] = float32(float64(x[t]) - shift)
		}
	})
	return tokens, logProb, int(broken.Load())
}
