package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// ValueType is the type of a metadata value, by its number in the file.
type ValueType uint32

const (
	TypeUint8 ValueType = iota
	TypeInt8
	TypeUint16
	TypeInt16
	TypeUint32
	TypeInt32
	TypeFloat32
	TypeBool
	TypeString
	TypeArray
	TypeUint64
	TypeInt64
	TypeFloat64
)

var valueTypes = [...]struct {
	name string
	size int // bytes a value takes, 0 where that varies
}{
	TypeUint8:   {"uint8", 1},
	TypeInt8:    {"int8", 1},
	TypeUint16:  {"uint16", 2},
	TypeInt16:   {"int16", 2},
	TypeUint32:  {"uint32", 4},
	TypeInt32:   {"int32", 4},
	TypeFloat32: {"float32", 4},
	TypeBool:    {"bool", 1},
	TypeString:  {"string", 0},
	TypeArray:   {"array", 0},
	TypeUint64:  {"uint64", 8},
	TypeInt64:   {"int64", 8},
	TypeFloat64: {"float64", 8},
}

func (t ValueType) String() string {
	if !t.valid() {
		return fmt.Sprintf("type %d", uint32(t))
	}
	return valueTypes[t].name
}

func (t ValueType) valid() bool { return int64(t) < int64(len(valueTypes)) }

// size is the number of bytes of a value of type t, or 0 where that varies.
func (t ValueType) size() int { return valueTypes[t].size }

// smallest is the least number of bytes that a value of type t can take.
func (t ValueType) smallest() int64 {
	switch t {
	case TypeString:
		return 8 // its length
	case TypeArray:
		return arrayHead
	}
	return int64(t.size())
}

// Value is one metadata value. It keeps the bytes that the file has for it, so a
// value that nobody changes is written as it was read, and reading one number
// out of a large array costs nothing but that number. The zero Value holds
// nothing: its methods report false, and Write refuses it.
type Value struct {
	typ ValueType
	raw []byte // little-endian, as in the file, without the leading type

	// Arrays only.
	elem  ValueType
	n     int
	index []uint32 // where each element begins in raw; nil if all have one size
}

// Type returns the type of the value.
func (v Value) Type() ValueType { return v.typ }

// Equal reports whether two values have the same type and the same bytes.
func (v Value) Equal(w Value) bool { return v.typ == w.typ && bytes.Equal(v.raw, w.raw) }

// Uint returns a value of any integer type, unless it is negative.
func (v Value) Uint() (uint64, bool) {
	if v.typ == TypeUint64 && len(v.raw) == 8 {
		return binary.LittleEndian.Uint64(v.raw), true
	}
	n, ok := v.Int()
	return uint64(n), ok && n >= 0
}

// Int returns a value of any integer type, unless it exceeds an int64.
func (v Value) Int() (int64, bool) {
	if !v.typ.valid() || len(v.raw) == 0 || len(v.raw) != v.typ.size() {
		return 0, false
	}
	le := binary.LittleEndian
	switch v.typ {
	case TypeUint8:
		return int64(v.raw[0]), true
	case TypeInt8:
		return int64(int8(v.raw[0])), true
	case TypeUint16:
		return int64(le.Uint16(v.raw)), true
	case TypeInt16:
		return int64(int16(le.Uint16(v.raw))), true
	case TypeUint32:
		return int64(le.Uint32(v.raw)), true
	case TypeInt32:
		return int64(int32(le.Uint32(v.raw))), true
	case TypeInt64:
		return int64(le.Uint64(v.raw)), true
	case TypeUint64:
		n := le.Uint64(v.raw)
		return int64(n), n <= math.MaxInt64
	}
	return 0, false
}

// Float returns a value of type float32 or float64.
func (v Value) Float() (float64, bool) {
	switch {
	case v.typ == TypeFloat32 && len(v.raw) == 4:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(v.raw))), true
	case v.typ == TypeFloat64 && len(v.raw) == 8:
		return math.Float64frombits(binary.LittleEndian.Uint64(v.raw)), true
	}
	return 0, false
}

// Bool returns a value of type bool. Any byte but zero counts as true.
func (v Value) Bool() (value, ok bool) {
	if v.typ != TypeBool || len(v.raw) != 1 {
		return false, false
	}
	return v.raw[0] != 0, true
}

// Str returns a value of type string. The format asks for UTF-8, but the tokens
// of real vocabularies are not always valid UTF-8, and nor is the result.
func (v Value) Str() (string, bool) {
	if v.typ != TypeString || len(v.raw) < 8 {
		return "", false
	}
	return string(v.raw[8:]), true
}

// WithUint returns n in the integer type of v, or an error if that type is no
// integer or too small for n.
func (v Value) WithUint(n uint64) (Value, error) {
	if !v.typ.valid() {
		return Value{}, fmt.Errorf("set value: %v is no type of GGUF", v.typ)
	}
	size := v.typ.size()
	bits := 8 * size
	switch v.typ {
	case TypeUint8, TypeUint16, TypeUint32, TypeUint64:
	case TypeInt8, TypeInt16, TypeInt32, TypeInt64:
		bits--
	default:
		return Value{}, fmt.Errorf("set value: %v holds no integer", v.typ)
	}
	if bits < 64 && n>>bits != 0 {
		return Value{}, fmt.Errorf("set value: %d does not fit a value of type %v", n, v.typ)
	}
	return Value{typ: v.typ, raw: binary.LittleEndian.AppendUint64(nil, n)[:size]}, nil
}

// Uint32 returns a value of type uint32.
func Uint32(n uint32) Value {
	return Value{typ: TypeUint32, raw: binary.LittleEndian.AppendUint32(nil, n)}
}

// Uint64 returns a value of type uint64.
func Uint64(n uint64) Value {
	return Value{typ: TypeUint64, raw: binary.LittleEndian.AppendUint64(nil, n)}
}

// Int32 returns a value of type int32.
func Int32(n int32) Value {
	return Value{typ: TypeInt32, raw: binary.LittleEndian.AppendUint32(nil, uint32(n))}
}

// Float32 returns a value of type float32.
func Float32(x float32) Value {
	return Value{typ: TypeFloat32, raw: binary.LittleEndian.AppendUint32(nil, math.Float32bits(x))}
}

// Bool returns a value of type bool.
func Bool(b bool) Value {
	if b {
		return Value{typ: TypeBool, raw: []byte{1}}
	}
	return Value{typ: TypeBool, raw: []byte{0}}
}

// String returns a value of type string.
func String(s string) Value {
	raw := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(s)), uint64(len(s)))
	return Value{typ: TypeString, raw: append(raw, s...)}
}
