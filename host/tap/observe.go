package tap

// #include "tap.h"
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"pare/plugin"
)

// Observe keeps the residual stream at points, given in the order of the forward
// pass, from the next pass on, until it is called with none; [Observed] takes it. A
// pass that is not to run whole ends behind the last point, and leaves the context's
// cache unfinished. It excludes [Bypass]. It is for a process that serves nobody, in
// which [Hook] preceded the model.
func Observe(points []plugin.Point, whole bool) error {
	if len(points) > C.MAX_POINTS {
		return fmt.Errorf("observe %d points of the residual stream: at most %d at a time", len(points), C.MAX_POINTS)
	}
	list := make([]C.struct_point, len(points)+1)
	for i, p := range points {
		list[i] = C.struct_point{layer: C.int(p.Layer), attended: C.bool(p.Attended)}
	}
	C.tap_observe(&list[0], C.int(len(points)), C.bool(whole))
	return nil
}

// ErrNoRoom says that there was too little memory for what was observed. Any other
// error of [Observed] is of the model, which cannot be observed so.
var ErrNoRoom = errors.New("observe the residual stream: too little memory")

// Observed appends to states, which has one slice for each point, the rows of all
// tokens of the passes since it was last called, in the order in which they were
// computed, and returns how many tokens those were.
func Observed(states [][]float32) (tokens int, err error) {
	var o C.struct_observed
	C.tap_observed(&o)
	switch {
	case bool(o.memory):
		return 0, ErrNoRoom
	case o.error != nil:
		return 0, errors.New("observe the residual stream: " + C.GoString(o.error))
	}
	for i := range states {
		rows := unsafe.Slice((*float32)(unsafe.Pointer(o.rows[i])), int(o.tokens*o.hidden))
		states[i] = append(states[i], rows...)
	}
	return int(o.tokens), nil
}
