package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Layout is what a file to be written shall hold.
type Layout struct {
	Version   uint32 // 2 or 3; 0 means 3
	Alignment uint64 // of tensor data; 0 means what the key general.alignment says, or 32
	KVs       []KV
	Tensors   []Source

	like *File // whose arrangement is kept as long as its tensors are
}

// Source is a tensor to be written and where its data comes from: from From, if
// that is set, else from the file whose File.Source or File.Layout made it.
// Name, Shape and Type may be changed freely as long as Size agrees; Offset is
// assigned by Write.
type Source struct {
	Tensor

	// From opens the data of a tensor that no file holds yet. It is called when
	// the tensor's turn comes, once, and the reader must give Size bytes, no fewer
	// and no more. If the reader is an io.Closer it is closed after use.
	From func() (io.Reader, error)

	file *File
	at   int64 // where in file
}

// complete checks what cannot be checked once it is bytes, and returns the
// alignment of the output.
func (l Layout) complete() (uint64, error) {
	alignment := uint64(defaultAlignment)
	for _, kv := range l.KVs {
		part := fmt.Sprintf("key %q", kv.Key)
		if len(kv.Value.raw) == 0 {
			return 0, &FormatError{Offset: -1, Part: part, What: "it has no value"}
		}
		if kv.Key == alignmentKey {
			var ok bool
			if alignment, ok = kv.Value.alignment(); !ok {
				return 0, &FormatError{Offset: -1, Part: part, What: badAlignment}
			}
		}
	}
	if l.Alignment != 0 && l.Alignment != alignment {
		return 0, fmt.Errorf("an alignment of %d is wanted, but by the keys it is %d: set %s", l.Alignment, alignment, alignmentKey)
	}
	for _, t := range l.Tensors {
		if err := t.complete(); err != nil {
			return 0, &FormatError{Offset: -1, Part: fmt.Sprintf("tensor %q", t.Name), Err: err}
		}
	}
	return alignment, nil
}

func (s Source) complete() error {
	size, err := s.Type.Bytes(s.Shape)
	switch {
	case err != nil:
		return err
	case s.Size != size:
		return fmt.Errorf("its size is given as %d bytes, and shape %v of type %v takes %d", s.Size, s.Shape, s.Type, size)
	case s.From == nil && s.file == nil:
		return errors.New("nothing says where its data comes from")
	case s.From == nil && s.Size > 0 && int64(s.Size) > s.file.Size-s.at:
		return errors.New("it is larger than what its file holds")
	}
	return nil
}

// header returns the bytes from the magic number to the last tensor's offset.
func (l Layout) header(offsets []uint64) []byte {
	size := len(magic) + 4 + 8 + 8
	for _, kv := range l.KVs {
		size += 8 + len(kv.Key) + 4 + len(kv.Value.raw)
	}
	for _, t := range l.Tensors {
		size += 8 + len(t.Name) + 4 + 8*len(t.Shape) + 4 + 8
	}
	version := l.Version
	if version == 0 {
		version = 3
	}
	le := binary.LittleEndian
	b := append(make([]byte, 0, size), magic...)
	b = le.AppendUint32(b, version)
	b = le.AppendUint64(b, uint64(len(l.Tensors)))
	b = le.AppendUint64(b, uint64(len(l.KVs)))
	for _, kv := range l.KVs {
		b = append(le.AppendUint64(b, uint64(len(kv.Key))), kv.Key...)
		b = le.AppendUint32(b, uint32(kv.Value.typ))
		b = append(b, kv.Value.raw...)
	}
	for i, t := range l.Tensors {
		b = append(le.AppendUint64(b, uint64(len(t.Name))), t.Name...)
		b = le.AppendUint32(b, uint32(len(t.Shape)))
		for _, n := range t.Shape {
			b = le.AppendUint64(b, n)
		}
		b = le.AppendUint32(b, uint32(t.Type))
		b = le.AppendUint64(b, offsets[i])
	}
	return b
}
