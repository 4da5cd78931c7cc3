package gguftest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
)

// The value types of the format, by their ids in a file.
const (
	typeUint8 uint32 = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

var typeOfKind = map[reflect.Kind]uint32{
	reflect.Uint8: typeUint8, reflect.Int8: typeInt8,
	reflect.Uint16: typeUint16, reflect.Int16: typeInt16,
	reflect.Uint32: typeUint32, reflect.Int32: typeInt32,
	reflect.Float32: typeFloat32, reflect.Bool: typeBool,
	reflect.String: typeString, reflect.Slice: typeArray,
	reflect.Uint64: typeUint64, reflect.Int64: typeInt64,
	reflect.Float64: typeFloat64,
}

// encoder appends the parts of a file to out.
type encoder struct {
	order binary.AppendByteOrder
	out   []byte
}

func (e *encoder) u8(v uint8)   { e.out = append(e.out, v) }
func (e *encoder) u16(v uint16) { e.out = e.order.AppendUint16(e.out, v) }
func (e *encoder) u32(v uint32) { e.out = e.order.AppendUint32(e.out, v) }
func (e *encoder) u64(v uint64) { e.out = e.order.AppendUint64(e.out, v) }

func (e *encoder) str(s string) {
	e.u64(uint64(len(s)))
	e.out = append(e.out, s...)
}

// pad fills up to the next multiple of alignment.
func (e *encoder) pad(alignment uint64, fill byte) {
	missing := (alignment - uint64(len(e.out))%alignment) % alignment
	e.out = append(e.out, bytes.Repeat([]byte{fill}, int(missing))...)
}

func (e *encoder) header(b Builder, kvs int) {
	magic, version := b.Magic, b.Version
	if magic == "" {
		magic = "GGUF"
	}
	if version == 0 {
		version = 3
	}
	tensorCount, kvCount := uint64(len(b.Tensors)), uint64(kvs)
	if b.TensorCount != nil {
		tensorCount = *b.TensorCount
	}
	if b.KVCount != nil {
		kvCount = *b.KVCount
	}
	e.out = append(e.out, magic...)
	e.u32(version)
	e.u64(tensorCount)
	e.u64(kvCount)
}

func (e *encoder) tensorInfo(t Tensor, offset uint64) {
	dims := uint32(len(t.Shape))
	if t.Dims != nil {
		dims = *t.Dims
	}
	e.str(t.Name)
	e.u32(dims)
	for _, n := range t.Shape {
		e.u64(n)
	}
	e.u32(t.Type)
	e.u64(offset)
}

// typed writes a key's value: its type id, then its payload.
func (e *encoder) typed(v any) {
	if raw, ok := v.(Raw); ok {
		e.u32(raw.Type)
		e.out = append(e.out, raw.Bytes...)
		return
	}
	rv := reflect.ValueOf(v)
	e.u32(typeID(rv.Type()))
	e.payload(rv)
}

// payload writes a value without its type id. An array is the type id of its
// elements, their number, and their payloads.
func (e *encoder) payload(v reflect.Value) {
	switch typeID(v.Type()) {
	case typeUint8:
		e.u8(uint8(v.Uint()))
	case typeInt8:
		e.u8(uint8(v.Int()))
	case typeUint16:
		e.u16(uint16(v.Uint()))
	case typeInt16:
		e.u16(uint16(v.Int()))
	case typeUint32:
		e.u32(uint32(v.Uint()))
	case typeInt32:
		e.u32(uint32(v.Int()))
	case typeUint64:
		e.u64(v.Uint())
	case typeInt64:
		e.u64(uint64(v.Int()))
	case typeFloat32:
		e.u32(math.Float32bits(float32(v.Float())))
	case typeFloat64:
		e.u64(math.Float64bits(v.Float()))
	case typeBool:
		if v.Bool() {
			e.u8(1)
		} else {
			e.u8(0)
		}
	case typeString:
		e.str(v.String())
	case typeArray:
		e.u32(typeID(v.Type().Elem()))
		e.u64(uint64(v.Len()))
		for i := range v.Len() {
			e.payload(v.Index(i))
		}
	}
}

func typeID(t reflect.Type) uint32 {
	id, ok := typeOfKind[t.Kind()]
	if !ok {
		panic(fmt.Sprintf("gguftest: no GGUF type for %v", t))
	}
	return id
}
