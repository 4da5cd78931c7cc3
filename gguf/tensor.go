package gguf

import (
	"fmt"
	"math"
	"math/bits"
)

// Tensor describes a tensor of a file: everything but its data.
type Tensor struct {
	Name   string
	Shape  []uint64 // number of elements in each dimension, the fastest-running first
	Type   TensorType
	Offset uint64 // in bytes, from File.DataOffset
	Size   uint64 // in bytes, without padding
}

// TensorType is the way in which a tensor's numbers are stored, by its number in
// ggml. Numbers are stored in blocks, each with its own scale where the type has
// scales.
type TensorType uint32

const (
	F32  TensorType = 0
	F16  TensorType = 1
	Q4_0 TensorType = 2
	Q4_1 TensorType = 3

	// OllamaMXFP4 is what Ollama itself writes for gpt-oss: MXFP4 blocks with the
	// nibbles in another order. In ggml the number 4 was a type (Q4_2) that was
	// withdrawn before there was GGUF.
	OllamaMXFP4 TensorType = 4

	Q5_0    TensorType = 6
	Q5_1    TensorType = 7
	Q8_0    TensorType = 8
	Q8_1    TensorType = 9
	Q2_K    TensorType = 10
	Q3_K    TensorType = 11
	Q4_K    TensorType = 12
	Q5_K    TensorType = 13
	Q6_K    TensorType = 14
	Q8_K    TensorType = 15
	IQ2_XXS TensorType = 16
	IQ2_XS  TensorType = 17
	IQ3_XXS TensorType = 18
	IQ1_S   TensorType = 19
	IQ4_NL  TensorType = 20
	IQ3_S   TensorType = 21
	IQ2_S   TensorType = 22
	IQ4_XS  TensorType = 23
	I8      TensorType = 24
	I16     TensorType = 25
	I32     TensorType = 26
	I64     TensorType = 27
	F64     TensorType = 28
	IQ1_M   TensorType = 29
	BF16    TensorType = 30
	TQ1_0   TensorType = 34
	TQ2_0   TensorType = 35
	MXFP4   TensorType = 39
)

var tensorTypes = [...]struct {
	name  string
	block uint64 // elements in a block
	bytes uint64 // bytes of a block; 0 for a type that ggml removed
}{
	F32:         {"F32", 1, 4},
	F16:         {"F16", 1, 2},
	Q4_0:        {"Q4_0", 32, 18},
	Q4_1:        {"Q4_1", 32, 20},
	OllamaMXFP4: {"MXFP4", 32, 17},
	5:           {"Q4_3", 0, 0},
	Q5_0:        {"Q5_0", 32, 22},
	Q5_1:        {"Q5_1", 32, 24},
	Q8_0:        {"Q8_0", 32, 34},
	Q8_1:        {"Q8_1", 32, 36},
	Q2_K:        {"Q2_K", 256, 84},
	Q3_K:        {"Q3_K", 256, 110},
	Q4_K:        {"Q4_K", 256, 144},
	Q5_K:        {"Q5_K", 256, 176},
	Q6_K:        {"Q6_K", 256, 210},
	Q8_K:        {"Q8_K", 256, 292},
	IQ2_XXS:     {"IQ2_XXS", 256, 66},
	IQ2_XS:      {"IQ2_XS", 256, 74},
	IQ3_XXS:     {"IQ3_XXS", 256, 98},
	IQ1_S:       {"IQ1_S", 256, 50},
	IQ4_NL:      {"IQ4_NL", 32, 18},
	IQ3_S:       {"IQ3_S", 256, 110},
	IQ2_S:       {"IQ2_S", 256, 82},
	IQ4_XS:      {"IQ4_XS", 256, 136},
	I8:          {"I8", 1, 1},
	I16:         {"I16", 1, 2},
	I32:         {"I32", 1, 4},
	I64:         {"I64", 1, 8},
	F64:         {"F64", 1, 8},
	IQ1_M:       {"IQ1_M", 256, 56},
	BF16:        {"BF16", 1, 2},
	31:          {"Q4_0_4_4", 0, 0},
	32:          {"Q4_0_4_8", 0, 0},
	33:          {"Q4_0_8_8", 0, 0},
	TQ1_0:       {"TQ1_0", 256, 54},
	TQ2_0:       {"TQ2_0", 256, 66},
	36:          {"IQ4_NL_4_4", 0, 0},
	37:          {"IQ4_NL_4_8", 0, 0},
	38:          {"IQ4_NL_8_8", 0, 0},
	MXFP4:       {"MXFP4", 32, 17},
}

func (t TensorType) String() string {
	if !t.known() {
		return fmt.Sprintf("type %d", uint32(t))
	}
	return tensorTypes[t].name
}

func (t TensorType) known() bool { return int64(t) < int64(len(tensorTypes)) }

// BlockSize is the number of elements in a block, or 0 if ggml does not have t.
func (t TensorType) BlockSize() uint64 {
	if !t.known() {
		return 0
	}
	return tensorTypes[t].block
}

// TypeSize is the number of bytes of a block, or 0 if ggml does not have t.
func (t TensorType) TypeSize() uint64 {
	if !t.known() {
		return 0
	}
	return tensorTypes[t].bytes
}

// Bytes returns how many bytes a tensor of type t and that shape takes, without
// padding. The error says why there can be no such tensor.
func (t TensorType) Bytes(shape []uint64) (uint64, error) {
	switch {
	case !t.known():
		return 0, fmt.Errorf("%v is no tensor type known to Pare: the file may need a newer version", t)
	case t.BlockSize() == 0:
		return 0, fmt.Errorf("tensor type %v was removed from ggml: quantize the original model again", t)
	case len(shape) > maxDims:
		return 0, fmt.Errorf("%d dimensions are more than %d", len(shape), maxDims)
	}
	elements, empty := uint64(1), false
	for _, n := range shape {
		empty = empty || n == 0
		high, low := bits.Mul64(elements, max(n, 1))
		if high != 0 || low > math.MaxInt64 {
			return 0, fmt.Errorf("shape %v has too many elements to count", shape)
		}
		elements = low
	}
	row := uint64(1)
	if len(shape) > 0 {
		row = shape[0]
	}
	if row%t.BlockSize() != 0 {
		return 0, fmt.Errorf("rows of %d elements do not divide into blocks of %d as type %v has them", row, t.BlockSize(), t)
	}
	if empty {
		return 0, nil
	}
	high, size := bits.Mul64(elements/t.BlockSize(), t.TypeSize())
	if high != 0 || size > math.MaxInt64 {
		return 0, fmt.Errorf("shape %v of type %v has too many bytes to count", shape, t)
	}
	return size, nil
}
