package engine

// #include "native.h"
import "C"

import (
	"reflect"
	"unsafe"

	"github.com/ollama/ollama/llama"
)

// pointer is the llama.cpp context that c holds and does not show.
func pointer(c *llama.Context) *C.struct_llama_context {
	return (*C.struct_llama_context)(reflect.ValueOf(c).Elem().FieldByName("c").UnsafePointer())
}

// freeContext lets go of a context, which package llama never does.
func freeContext(c *llama.Context) { C.llama_free(pointer(c)) }

// logitsAt are the logits of the i-th token of the last batch, in llama.cpp's own
// memory: they last until the next batch. It is nil where none were asked for.
func logitsAt(c *llama.Context, i, vocabulary int) []float32 {
	p := C.llama_get_logits_ith(pointer(c), C.int32_t(i))
	if p == nil {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(p)), vocabulary)
}

// keepReason has the reasons of loadReason kept.
func keepReason() { C.keep_reason() }

// loadReason is why the last model could not be loaded, in llama.cpp's words, or "".
// It is asked once.
func loadReason() string { return C.GoString(C.load_reason()) }

// freeMemory is what the device of an index has left, in bytes.
func freeMemory(device uint64) int64 { return int64(C.device_memory(C.size_t(device))) }
