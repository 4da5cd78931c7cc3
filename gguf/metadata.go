package gguf

import (
	"fmt"
	"math/bits"
)

// The keys that change how a file is read.
const (
	alignmentKey = "general.alignment"
	splitKey     = "split.count"
)

const defaultAlignment = 32

// kvs reads the metadata and acts on the keys that change how a file is read.
func (c *cursor) kvs(f *File, n int) error {
	f.Alignment = defaultAlignment
	for i := range n {
		c.part = fmt.Sprintf("key %d of %d", i+1, n)
		at := c.pos
		key, err := c.name()
		if err != nil {
			return err
		}
		c.part = fmt.Sprintf("key %q", key)
		if _, ok := f.kv[key]; ok {
			return c.fail(at, "it is there twice")
		}
		v, err := c.value()
		if err != nil {
			return err
		}
		f.kv[key] = len(f.KVs)
		f.KVs = append(f.KVs, KV{key, v})
		at = c.pos - int64(len(v.raw))
		switch key {
		case alignmentKey:
			var ok bool
			if f.Alignment, ok = v.alignment(); !ok {
				return c.fail(at, badAlignment)
			}
		case splitKey:
			if n, _ := v.Uint(); n > 1 {
				return &FormatError{Offset: at, Part: c.part, Err: ErrSplit, What: fmt.Sprintf("this is one of %d parts", n)}
			}
		}
	}
	return nil
}

const badAlignment = "it must be a uint32 and a power of two"

// alignment returns the value as an alignment, if it is one that llama.cpp takes.
func (v Value) alignment() (uint64, bool) {
	n, _ := v.Uint()
	return n, v.typ == TypeUint32 && bits.OnesCount64(n) == 1
}

// value reads a type and a value of it. How long the value is shows only on the
// way through it, so the way is made twice: once through the file without
// keeping anything, and once through exactly the bytes that are kept.
func (c *cursor) value() (Value, error) {
	at := c.pos
	kind, err := c.uint32()
	if err != nil {
		return Value{}, err
	}
	start := c.pos
	if _, err := c.pass(ValueType(kind), at, 0); err != nil {
		return Value{}, err
	}
	raw, err := c.since(start)
	if err != nil {
		return Value{}, err
	}
	kept := inMemory(raw, int64(len(raw)))
	v, err := kept.pass(ValueType(kind), at, 0)
	if err != nil || kept.pos != kept.size {
		return Value{}, c.fail(start, "the file changed while it was read: try again")
	}
	v.raw = raw
	return v, nil
}

// pass passes over a value of type t, which was read at byte at and lies within
// depth arrays, and returns it without its bytes.
func (c *cursor) pass(t ValueType, at int64, depth int) (Value, error) {
	switch {
	case !t.valid():
		return Value{}, c.fail(at, "%v is no type of value", t)
	case t == TypeArray:
		return c.array(depth)
	case t == TypeString:
		n, err := c.uint64()
		if err == nil {
			err = c.skip(n)
		}
		return Value{typ: t}, err
	}
	return Value{typ: t}, c.skip(uint64(t.size()))
}

// array passes over an array that lies within depth others.
func (c *cursor) array(depth int) (Value, error) {
	start := c.pos
	if depth == maxDepth {
		return Value{}, c.fail(start, "arrays are nested more than %d deep", maxDepth)
	}
	kind, err := c.uint32()
	if err != nil {
		return Value{}, err
	}
	elem := ValueType(kind)
	if !elem.valid() {
		return Value{}, c.fail(start, "%v is no type of value", elem)
	}
	n, err := c.count(elem.smallest())
	if err != nil {
		return Value{}, err
	}
	v := Value{typ: TypeArray, elem: elem, n: n}
	if size := elem.size(); size > 0 {
		return v, c.skip(uint64(n) * uint64(size))
	}
	if c.index && depth == 0 {
		v.index = make([]uint32, 0, n)
	}
	for range n {
		if v.index != nil {
			v.index = append(v.index, uint32(c.pos-start))
		}
		if _, err := c.pass(elem, start, depth+1); err != nil {
			return Value{}, err
		}
	}
	return v, nil
}
