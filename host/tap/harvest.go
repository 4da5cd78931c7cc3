package tap

// #include <stdlib.h>
// #include "tap.h"
import "C"

import (
	"unsafe"

	"pare/plugin"
)

// reasons says what each fault means, to people.
var reasons = [C.FAULTS]string{
	C.FAULT_BUSY:       "two graphs were computed at the same time",
	C.FAULT_UNREADABLE: "a residual could not be copied",
	C.FAULT_ORDER:      "layers did not come one after another",
	C.FAULT_SHAPE:      "layers differed in their number of tokens",
	C.FAULT_NO_LAYERS:  "the final norm was found but no input norms: this architecture cannot be traced",
	C.FAULT_MODEL:      "the number of layers or their width changed",
	C.FAULT_UNFINISHED: "a forward pass did not reach the final norm",
	C.FAULT_NOT_FINITE: "a residual's norm was not finite",
	C.FAULT_MEMORY:     "too little memory to keep the residuals of one pass",
	C.FAULT_OUTPUTS:    "output rows could not be matched with tokens: the last residual was left out",
	C.FAULT_POSITIONS:  "no positions were found: first tokens are not kept apart",
	C.FAULT_THINNED:    "the residuals took too much memory: some tokens were left out",
}

const unrecognised = "no layers were recognised: this architecture cannot be traced"

// harvest takes what was measured since the last call, and how many tokens were
// left out by lot.
func harvest() (d *plugin.TraceDelta, skipped int64) {
	var h C.struct_harvest
	C.pass_harvest(&h)
	defer C.free(unsafe.Pointer(h.totals))

	d, skipped = &plugin.TraceDelta{}, int64(h.skipped)
	for i, n := range h.faults {
		if n > 0 {
			d.Faults = append(d.Faults, plugin.Fault{Reason: reasons[i], Graphs: int64(n), Counted: i >= C.FAULTS_COUNTED})
		}
	}
	if h.totals == nil {
		if h.unrecognised > 0 && len(d.Faults) == 0 {
			d.Faults = append(d.Faults, plugin.Fault{Reason: unrecognised, Graphs: int64(h.unrecognised)})
		}
		return d, skipped
	}
	d.Layers = int(h.totals.layers)
	d.Hidden = int(h.totals.hidden)
	d.LeftOut = int64(h.left_out)
	d.All, d.Last, d.First = sums(h.totals, C.ALL), sums(h.totals, C.LAST), sums(h.totals, C.FIRST)
	return d, skipped
}

// sums copies the sums of one population.
func sums(t *C.struct_totals, population int) plugin.Sums {
	layers, stride := int(t.layers), int(C.totals_stride(t.layers))
	first := unsafe.Add(unsafe.Pointer(t), C.sizeof_struct_totals)
	all := unsafe.Slice((*float64)(first), C.POPULATIONS*stride)
	values := all[population*stride:]

	s := plugin.NewSums(layers)
	s.Tokens = int64(t.tokens[population])
	s.OutTokens = int64(t.out_tokens[population])
	for _, to := range [][]float64{s.Angle, s.Cosine, s.Step, s.Norm} {
		copy(to, values)
		values = values[len(to):]
	}
	return s
}
