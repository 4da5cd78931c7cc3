// Package gguftest lays out GGUF files in memory, byte by byte, for tests. It
// shares no code with the reader and writer in pare/gguf, so that an error there
// cannot hide behind the same error here. It also writes what no honest writer
// would: false counts and offsets, unknown types, cut and trailing bytes.
package gguftest

import "encoding/binary"

// DefaultAlignment is where tensors begin when a file does not say otherwise.
const DefaultAlignment = 32

// Builder describes one file. Its zero value is a valid version 3 file with no
// key-values and no tensors.
type Builder struct {
	Version   uint32 // 0 means 3
	BigEndian bool

	// Alignment pads the data section and each tensor to a multiple of itself.
	// 0 means DefaultAlignment; any other number is also written as the first
	// key-value, general.alignment (uint32), unless KVs holds that key.
	Alignment uint64

	KVs     []KV
	Tensors []Tensor

	// What follows damages the file, or makes it unusual.

	Magic       string  // instead of "GGUF"
	TensorCount *uint64 // instead of the number of Tensors
	KVCount     *uint64 // instead of the number of key-values written
	Padding     byte    // fills the gaps before and after tensors
	Data        []byte  // if not nil, the whole data section; Tensor.Bytes only give offsets
	Trailing    []byte  // follows the data section
}

// KV is one key and its value, written in the order of Builder.KVs.
//
// The Go type of Value decides the GGUF type: uint8 to uint64, int8 to int64,
// float32, float64, bool, string, and slices of any of these or of slices, to any
// depth. Any other type panics.
type KV struct {
	Key   string
	Value any
}

// Raw is a value whose type id and payload are written as they are given.
type Raw struct {
	Type  uint32
	Bytes []byte
}

// Tensor is one tensor. Nothing checks that Bytes has the size that Shape and Type
// ask for.
type Tensor struct {
	Name  string
	Shape []uint64 // fastest-moving dimension first, as in ggml's ne
	Type  uint32   // ggml type id: 0 is F32, 1 is F16, 2 is Q4_0
	Bytes []byte

	// What follows damages the file, or makes it unusual.

	Dims   *uint32 // instead of the number of dimensions in Shape
	Offset *uint64 // written instead of where Bytes will lie
}

// Bytes lays the file out: header, key-values, tensor infos, padding, then the
// bytes of each tensor followed by padding.
func (b Builder) Bytes() []byte {
	kvs := b.keyValues()
	e := encoder{order: b.order()}
	e.header(b, len(kvs))
	for _, kv := range kvs {
		e.str(kv.Key)
		e.typed(kv.Value)
	}
	data := b.dataSection(&e)
	e.pad(b.alignment(), b.Padding)
	e.out = append(e.out, data...)
	return append(e.out, b.Trailing...)
}

// DataOffset is where the data section begins, in bytes from the start of the file.
func (b Builder) DataOffset() int {
	b.Data, b.Trailing = []byte{}, nil
	return len(b.Bytes())
}

// dataSection writes the tensor infos and returns the bytes that they point to.
func (b Builder) dataSection(e *encoder) []byte {
	section := encoder{}
	for _, t := range b.Tensors {
		offset := uint64(len(section.out))
		if t.Offset != nil {
			offset = *t.Offset
		}
		e.tensorInfo(t, offset)
		section.out = append(section.out, t.Bytes...)
		section.pad(b.alignment(), b.Padding)
	}
	if b.Data != nil {
		return b.Data
	}
	return section.out
}

// keyValues is b.KVs with general.alignment put first where the file needs it.
func (b Builder) keyValues() []KV {
	if b.Alignment == 0 {
		return b.KVs
	}
	for _, kv := range b.KVs {
		if kv.Key == "general.alignment" {
			return b.KVs
		}
	}
	return append([]KV{{"general.alignment", uint32(b.Alignment)}}, b.KVs...)
}

func (b Builder) alignment() uint64 {
	if b.Alignment == 0 {
		return DefaultAlignment
	}
	return b.Alignment
}

func (b Builder) order() binary.AppendByteOrder {
	if b.BigEndian {
		return binary.BigEndian
	}
	return binary.LittleEndian
}
