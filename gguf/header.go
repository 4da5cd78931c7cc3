package gguf

import (
	"encoding/binary"
	"fmt"
)

const (
	magic = "GGUF"

	maxName = 1<<16 - 1 // bytes of a key or of a tensor's name
	maxDims = 4

	smallestKV     = 8 + 1 + 4 + 1     // length, name, type, value
	smallestTensor = 8 + 1 + 4 + 4 + 8 // length, name, dimensions, type, offset
)

// readHeader reads a header and checks it against the rules and against the
// file's size.
func readHeader(c *cursor) (*File, error) {
	f := &File{Size: c.size, kv: map[string]int{}, tensor: map[string]int{}}
	var err error
	if f.Version, err = c.version(); err != nil {
		return nil, err
	}
	c.part = "number of tensors"
	tensors, err := c.count(smallestTensor)
	if err != nil {
		return nil, err
	}
	c.part = "number of keys"
	kvs, err := c.count(smallestKV)
	if err != nil {
		return nil, err
	}
	if err := c.kvs(f, kvs); err != nil {
		return nil, err
	}
	if err := c.tensors(f, tensors); err != nil {
		return nil, err
	}
	f.headerSize = c.pos
	f.DataOffset = align(f.headerSize, f.Alignment)
	return f, f.checkTensors()
}

// version reads the magic number and the version.
func (c *cursor) version() (uint32, error) {
	c.part = "magic number"
	if c.size < int64(len(magic)) {
		return 0, &FormatError{Part: c.part, Err: ErrNotGGUF}
	}
	b, err := c.next(uint64(len(magic)))
	if err != nil {
		return 0, err
	}
	if string(b) != magic && string(b) != "FUGG" {
		return 0, &FormatError{Part: c.part, Err: ErrNotGGUF}
	}
	reversed := string(b) == "FUGG"
	c.part = "version"
	at := c.pos
	version, err := c.uint32()
	switch {
	case err != nil:
		return 0, err
	case reversed || version != 0 && version&0xffff == 0:
		return 0, &FormatError{Offset: at, Part: c.part, Err: ErrBigEndian}
	case version == 1:
		return 0, &FormatError{
			Offset: at, Part: c.part, Err: ErrVersion,
			What: "version 1 was given up in 2023: convert the original model again, or fetch a newer file",
		}
	case version != 2 && version != 3:
		return 0, &FormatError{
			Offset: at, Part: c.part, Err: ErrVersion,
			What: fmt.Sprintf("version %d is not 2 or 3: a newer Pare may read it", version),
		}
	}
	return version, nil
}

func (c *cursor) tensors(f *File, n int) error {
	for i := range n {
		c.part = fmt.Sprintf("tensor %d of %d", i+1, n)
		at := c.pos
		name, err := c.name()
		if err != nil {
			return err
		}
		c.part = fmt.Sprintf("tensor %q", name)
		if _, ok := f.tensor[name]; ok {
			return c.fail(at, "it is there twice")
		}
		t, err := c.tensor(name)
		if err != nil {
			return err
		}
		f.tensor[name] = len(f.Tensors)
		f.Tensors = append(f.Tensors, t)
	}
	return nil
}

// tensor reads what follows a tensor's name: shape, type and offset.
func (c *cursor) tensor(name string) (Tensor, error) {
	at := c.pos
	dims, err := c.uint32()
	if err != nil {
		return Tensor{}, err
	}
	if dims > maxDims {
		return Tensor{}, c.fail(at, "%d dimensions are more than %d", dims, maxDims)
	}
	b, err := c.next(8*uint64(dims) + 4 + 8)
	if err != nil {
		return Tensor{}, err
	}
	le := binary.LittleEndian
	t := Tensor{Name: name, Shape: make([]uint64, dims)}
	for i := range t.Shape {
		t.Shape[i] = le.Uint64(b[8*i:])
	}
	b = b[8*dims:]
	t.Type, t.Offset = TensorType(le.Uint32(b)), le.Uint64(b[4:])
	if t.Size, err = t.Type.Bytes(t.Shape); err != nil {
		return Tensor{}, c.fail(at, "%v", err)
	}
	return t, nil
}

// align rounds n up to a multiple of to, a power of two.
func align(n int64, to uint64) int64 {
	mask := int64(to) - 1
	return (n + mask) &^ mask
}
