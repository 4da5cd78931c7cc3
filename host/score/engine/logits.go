package engine

// #cgo CFLAGS: -O3
// #cgo LDFLAGS: -lm
// #include "logits.h"
import "C"

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A row is what is known of the logits for one position: see logits.h.
type row = C.struct_row

func readRow(logits []float32) row {
	return C.row_read((*C.float)(unsafe.SliceData(logits)), C.int(len(logits)))
}

// logProb is the natural logarithm of the probability of a token.
func logProb(r row, logits []float32, token int32) float64 {
	return float64(logits[token]) - float64(r.max) - math.Log(float64(r.sum))
}

// divergence is the KL divergence of logits from the reference, in nats.
func divergence(reference []float32, p row, logits []float32, q row) float64 {
	return float64(C.row_divergence((*C.float)(unsafe.SliceData(reference)), p,
		(*C.float)(unsafe.SliceData(logits)), q, C.int(len(logits))))
}

// broken is what is said of a token for which a variant's logits are not all
// finite: a log-probability of -100 and a KL divergence of 100. Leaving layers out
// can do that to a model. What works is never said to be worse than that, so that
// a broken variant cannot look like the better one.
const broken = 100

// sound reports whether the logits of a row are all finite.
func sound(r row) bool { return r.best >= 0 }

// read reads rows on all cores.
func read(logits [][]float32) []row {
	rows := make([]row, len(logits))
	spread(len(logits), func(i int) { rows[i] = readRow(logits[i]) })
	return rows
}

// spread calls do with 0 to n-1 on as many goroutines as there are cores.
func spread(n int, do func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}
