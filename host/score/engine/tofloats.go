package engine

// #include "native.h"
import "C"

import (
	"unsafe"

	"pare/plugin"
)

// toFloats computes the numbers of data, whole blocks of a type.
func toFloats(kind uint32, data []byte) ([]float32, error) {
	size, bytes := int(C.block_size(C.uint32_t(kind))), int(C.block_bytes(C.uint32_t(kind)))
	if bytes == 0 {
		return nil, plugin.Errorf(plugin.Invalid, "compute numbers: ggml has no type %d of weights", kind)
	}
	if len(data) == 0 || len(data)%bytes != 0 || len(data) > plugin.FloatsBytes {
		return nil, plugin.Errorf(plugin.Invalid, "compute numbers: %d bytes of type %d; give whole blocks of %d, %d at most", len(data), kind, bytes, plugin.FloatsBytes)
	}
	out := make([]float32, len(data)/bytes*size)
	C.to_floats(C.uint32_t(kind), unsafe.Pointer(unsafe.SliceData(data)), (*C.float)(unsafe.SliceData(out)), C.int64_t(len(out)))
	return out, nil
}
