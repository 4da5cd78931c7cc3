package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// arrayHead is the number of bytes before an array's first element: the type of
// the elements (4) and their number (8).
const arrayHead = 12

// Array returns an array of the values vs, each of which must be of type elem.
func Array(elem ValueType, vs ...Value) (Value, error) {
	if !elem.valid() {
		return Value{}, fmt.Errorf("make array: %v is no type of GGUF", elem)
	}
	b := newArrayBuilder(elem, len(vs))
	for i, v := range vs {
		if v.typ != elem || len(v.raw) == 0 {
			return Value{}, fmt.Errorf("make array of %v: element %d is not one", elem, i)
		}
		b.append(v.raw)
	}
	return b.value()
}

// Len returns the number of an array's elements, and -1 for other values.
func (v Value) Len() int {
	if v.typ != TypeArray || len(v.raw) < arrayHead {
		return -1
	}
	return v.n
}

// Elem returns the type of an array's elements. It has no meaning for other values.
func (v Value) Elem() ValueType { return v.elem }

// At returns element i of an array, without copying it. Like indexing a slice it
// panics if i is out of range, or if v is not an array.
func (v Value) At(i int) Value {
	raw := v.element(i)
	if v.elem != TypeArray {
		return Value{typ: v.elem, raw: raw}
	}
	inner, err := inMemory(raw, int64(len(raw))).array(0)
	if err != nil {
		panic(fmt.Sprintf("gguf: element %d of a checked array: %v", i, err))
	}
	inner.raw = raw
	return inner
}

// Select returns the array with only the elements at the indices keep, in that
// order. An index may occur twice.
func (v Value) Select(keep []int) (Value, error) {
	n := v.Len()
	if n < 0 {
		return Value{}, fmt.Errorf("select elements: a value of type %v is no array", v.typ)
	}
	b := newArrayBuilder(v.elem, len(keep))
	for _, i := range keep {
		if i < 0 || i >= n {
			return Value{}, fmt.Errorf("select elements: index %d is outside an array of %d", i, n)
		}
		b.append(v.element(i))
	}
	return b.value()
}

// element returns the bytes of element i.
func (v Value) element(i int) []byte {
	if i < 0 || i >= v.Len() {
		panic(fmt.Sprintf("gguf: index %d is outside an array of %d", i, v.Len()))
	}
	if v.index == nil {
		size := v.elem.size()
		start := arrayHead + i*size
		return v.raw[start : start+size : start+size]
	}
	start, end := int(v.index[i]), len(v.raw)
	if i+1 < len(v.index) {
		end = int(v.index[i+1])
	}
	return v.raw[start:end:end]
}

// arrayBuilder collects the elements of a new array.
type arrayBuilder struct{ v Value }

func newArrayBuilder(elem ValueType, n int) *arrayBuilder {
	raw := make([]byte, 0, arrayHead+n*int(elem.smallest()))
	raw = binary.LittleEndian.AppendUint32(raw, uint32(elem))
	raw = binary.LittleEndian.AppendUint64(raw, uint64(n))
	b := &arrayBuilder{Value{typ: TypeArray, raw: raw, elem: elem, n: n}}
	if elem.size() == 0 {
		b.v.index = make([]uint32, 0, n)
	}
	return b
}

func (b *arrayBuilder) append(element []byte) {
	if b.v.index != nil {
		b.v.index = append(b.v.index, uint32(len(b.v.raw)))
	}
	b.v.raw = append(b.v.raw, element...)
}

func (b *arrayBuilder) value() (Value, error) {
	if len(b.v.raw) > math.MaxUint32 {
		return Value{}, fmt.Errorf("make array: %d bytes are more than a GGUF header may have", len(b.v.raw))
	}
	return b.v, nil
}
