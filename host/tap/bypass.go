package tap

// #include "bypass.h"
// #include "tap.h"
import "C"

import (
	"errors"
	"fmt"
)

// Hook puts the tap in front of every device, once, before a model is loaded. It
// is for a process that measures for itself; a runner calls [Install].
func Hook() error { return hook() }

// Bypass runs every model of this process without some layers from the next
// forward pass on, until it is called again: with none, models run as they are. A
// model has fewer than 512 layers; it must be one that [Hook] preceded, and its
// context's cache must be cleared, as it holds what other layers computed.
func Bypass(layers []int) error {
	list := make([]C.int, len(layers))
	for i, l := range layers {
		if l < 0 || l >= C.MAX_LAYERS {
			return fmt.Errorf("bypass layer %d: layers are 0 to %d", l, C.MAX_LAYERS-1)
		}
		list[i] = C.int(l)
	}
	if len(list) == 0 {
		C.tap_bypass(nil, 0)
		return nil
	}
	C.tap_bypass(&list[0], C.int(len(list)))
	return nil
}

// ErrMemory says that there was too little memory to leave out layers. Any other
// error of [BypassError] is of the model, which cannot be run so.
var ErrMemory = errors.New("leave out layers: too little memory")

// BypassError tells why a forward pass since it was last asked was not run without
// the layers. Its argument is how the pass ended: one that failed for a reason that is
// not the tap's own has that, another that is fine ran as it should. Without a bypass
// it means nothing.
func BypassError(pass error) error {
	var memory C.bool
	why := C.bypass_error(C.bool(pass == nil), &memory)
	switch {
	case bool(memory):
		return ErrMemory
	case why != nil:
		return errors.New("leave out layers: " + C.GoString(why))
	}
	return pass
}
