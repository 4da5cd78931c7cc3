// Package gguf reads, writes and copies GGUF, the file format in which llama.cpp
// and Ollama keep models.
//
// A file begins with a header: metadata, which is a list of keys with typed
// values, and a list of tensors with their shapes, types and places. The
// tensors' data follows. Reading takes only the header into memory, and writing
// streams the data, so the size of a model does not matter. What is not changed
// is copied byte for byte, and to write a file as it was read gives the same
// bytes.
//
// Versions 2 and 3 are read, in little-endian order and in one piece. Nothing in
// a file is trusted: a count, length or offset that the file's size cannot
// justify is an error that says where it stands.
package gguf

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// KV is a key of the metadata with its value.
type KV struct {
	Key   string
	Value Value
}

// File is a GGUF file open for reading. Its methods may be called from several
// goroutines; its fields are not to be changed.
type File struct {
	Version   uint32
	Alignment uint64 // in bytes, of the tensors' data
	KVs       []KV   // in the order of the file
	Tensors   []Tensor

	DataOffset int64 // where the tensors' data begins, in bytes
	Size       int64 // of the whole file, in bytes

	headerSize int64 // where the header ends and the padding before the data begins
	kv         map[string]int
	tensor     map[string]int
	r          io.ReaderAt
	opened     *os.File   // r, if Open opened it
	seek       sync.Mutex // held while the place in opened matters
}

// Open opens the file at path and reads its header. Close it after use.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("open model: %w", err)
	}
	f, err := Read(file, info.Size())
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	f.opened = file
	return f, nil
}

// Read reads the header of the GGUF file of size bytes in r. What breaks the
// rules of the format is reported as a *FormatError.
func Read(r io.ReaderAt, size int64) (*File, error) {
	f, err := readHeader(&cursor{r: r, size: size})
	if err != nil {
		return nil, err
	}
	f.r = r
	return f, nil
}

// Close closes a file that Open opened.
func (f *File) Close() error {
	if f.opened == nil {
		return nil
	}
	return f.opened.Close()
}

// KV returns the value of a key.
func (f *File) KV(key string) (Value, bool) {
	i, ok := f.kv[key]
	if !ok {
		return Value{}, false
	}
	return f.KVs[i].Value, true
}

// Tensor returns the tensor of that name.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.tensor[name]
	if !ok {
		return Tensor{}, false
	}
	return f.Tensors[i], true
}

// Data returns the bytes of a tensor of f.
func (f *File) Data(t Tensor) *io.SectionReader {
	return io.NewSectionReader(f.r, f.DataOffset+int64(t.Offset), int64(t.Size))
}

// Source returns a tensor of f, to be written to another file.
func (f *File) Source(t Tensor) Source {
	return Source{Tensor: t, file: f, at: f.DataOffset + int64(t.Offset)}
}

// Layout returns everything that is in f, as it is. The slices are the caller's
// to change.
func (f *File) Layout() Layout {
	l := Layout{Version: f.Version, Alignment: f.Alignment, KVs: slices.Clone(f.KVs), like: f}
	for _, t := range f.Tensors {
		l.Tensors = append(l.Tensors, f.Source(t))
	}
	return l
}
