package tap

// #include <stdlib.h>
// #include "fold.h"
import "C"

import (
	"errors"
	"unsafe"

	"pare/plugin"
)

var errNotFinite = errors.New("measure residuals: a norm is not finite")

// measure measures residuals in Go's memory, as the tap measures those of one
// forward pass: residuals[l][t] is x_l of token t, l < L; final[r] is x_L of
// output row r; output[t] is the row of token t or -1; position[t] is its place
// in its sequence, and position may be nil. It exists for tests, which cannot call C.
func measure(residuals [][][]float32, final [][]float32, output, position []int32) (all, last, first plugin.Sums, err error) {
	layers, tokens, hidden := len(residuals), len(residuals[0]), len(residuals[0][0])
	s := C.struct_sample{layers: C.int(layers), hidden: C.int64_t(hidden), kept: C.int64_t(tokens)}
	token := make([]int32, tokens)
	for t := range token {
		token[t] = int32(t)
	}
	var flat []float32
	for _, layer := range residuals {
		for _, x := range layer {
			flat = append(flat, x...)
		}
	}
	var tail []float32
	for _, x := range final {
		tail = append(tail, x...)
	}
	copies := []unsafe.Pointer{toC(flat), toC(tail), toC(token), toC(output), toC(position)}
	defer func() {
		for _, p := range copies {
			C.free(p)
		}
	}()
	s.residual, s.final = (*C.float)(copies[0]), (*C.float)(copies[1])
	s.token, s.output = (*C.int32_t)(copies[2]), (*C.int32_t)(copies[3])
	s.position = (*C.int32_t)(copies[4])

	t := C.totals_new(s.layers, s.hidden)
	defer C.free(unsafe.Pointer(t))
	switch C.fold(t, &s) {
	case C.FOLD_NOT_FINITE:
		err = errNotFinite
	case C.FOLD_NO_MEMORY:
		err = errors.New("measure residuals: no memory")
	}
	return sums(t, C.ALL), sums(t, C.LAST), sums(t, C.FIRST), err
}

// toC copies a slice to C's memory, to be freed; nil stays NULL.
func toC[T int32 | float32](s []T) unsafe.Pointer {
	if s == nil {
		return nil
	}
	p := C.malloc(C.size_t(4*len(s) + 1))
	copy(unsafe.Slice((*T)(p), len(s)), s)
	return p
}
