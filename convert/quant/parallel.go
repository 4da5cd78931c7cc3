package quant

import (
	"runtime"
	"sync"
)

// inParallel calls do for parts of 0 … n-1, one for each core.
func inParallel(n int, do func(from, to int)) {
	var wg sync.WaitGroup
	parts := min(n, runtime.GOMAXPROCS(0))
	for p := range parts {
		wg.Go(func() { do(p*n/parts, (p+1)*n/parts) })
	}
	wg.Wait()
}
