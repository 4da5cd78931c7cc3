package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// maxHeader bounds the memory that a header may take. The largest
	// vocabularies take about 10 MiB.
	maxHeader = 512 << 20

	window   = 128 << 10 // bytes read at a time
	maxDepth = 16        // of arrays in arrays
)

// cursor walks through a header, by a small window on the file. It takes no
// memory for what it passes over, so that no length which a file claims can.
type cursor struct {
	r     io.ReaderAt // nil if all is in buf
	size  int64       // of the file
	buf   []byte      // of the file, from byte start
	start int64
	pos   int64
	part  string // what is being read, for errors
	index bool   // note where the elements of arrays begin
}

// inMemory returns a cursor over the first bytes of a file of size bytes.
func inMemory(b []byte, size int64) *cursor {
	return &cursor{buf: b, size: size, index: true}
}

// fail reports what is wrong with the part being read.
func (c *cursor) fail(at int64, format string, args ...any) error {
	return &FormatError{Offset: at, Part: c.part, What: fmt.Sprintf(format, args...)}
}

// skip passes over n bytes.
func (c *cursor) skip(n uint64) error {
	if left := uint64(c.size - c.pos); n > left {
		return &FormatError{
			Offset: c.pos, Part: c.part, Err: ErrTruncated,
			What: fmt.Sprintf("%d bytes are needed and %d are left", n, left),
		}
	}
	if n > uint64(maxHeader-c.pos) {
		return c.fail(c.pos, "the header exceeds %d MiB", maxHeader>>20)
	}
	c.pos += int64(n)
	return nil
}

// next returns the following n bytes, of which there may be as many as the
// window has. They stay valid only until the next call.
func (c *cursor) next(n uint64) ([]byte, error) {
	at := c.pos
	if err := c.skip(n); err != nil {
		return nil, err
	}
	if at < c.start || c.pos > c.start+int64(len(c.buf)) {
		if c.buf == nil {
			c.buf = make([]byte, min(window, c.size))
		}
		c.buf, c.start = c.buf[:min(window, c.size-at)], at
		if err := c.read(c.buf, at); err != nil {
			return nil, err
		}
	}
	return c.buf[at-c.start : c.pos-c.start], nil
}

// since returns what lies between byte at and where the cursor is, to be kept.
func (c *cursor) since(at int64) ([]byte, error) {
	if c.r == nil {
		return c.buf[at:c.pos:c.pos], nil
	}
	b := make([]byte, c.pos-at)
	if at >= c.start && c.pos <= c.start+int64(len(c.buf)) {
		copy(b, c.buf[at-c.start:])
		return b, nil
	}
	return b, c.read(b, at)
}

// read fills b with the bytes of the file from byte at.
func (c *cursor) read(b []byte, at int64) error {
	n, err := c.r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == io.EOF {
		err = ErrTruncated // it shrank since its size was taken
	}
	return &FormatError{Offset: at + int64(n), Part: c.part, What: "cannot be read", Err: err}
}

func (c *cursor) uint32() (uint32, error) {
	b, err := c.next(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (c *cursor) uint64() (uint64, error) {
	b, err := c.next(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// name returns a string of 1 to maxName bytes with its length before it.
func (c *cursor) name() (string, error) {
	at := c.pos
	n, err := c.uint64()
	if err != nil {
		return "", err
	}
	if n == 0 || n > maxName {
		return "", c.fail(at, "a name of %d bytes: it must have 1 to %d", n, maxName)
	}
	b, err := c.next(n)
	return string(b), err
}

// count returns a number of things that take at least size bytes each.
func (c *cursor) count(size int64) (int, error) {
	at := c.pos
	n, err := c.uint64()
	if err != nil {
		return 0, err
	}
	if left := c.size - c.pos; n > uint64(left/size) {
		return 0, &FormatError{
			Offset: at, Part: c.part, Err: ErrTruncated,
			What: fmt.Sprintf("%d of them cannot be in the %d bytes that are left", n, left),
		}
	}
	return int(n), nil
}
