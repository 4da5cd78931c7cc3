package gguf

import (
	"errors"
	"fmt"
)

// Errors for decisions. Read wraps them in a *FormatError.
var (
	ErrNotGGUF   = errors.New("this is not a GGUF file")
	ErrVersion   = errors.New("this version of GGUF is not supported")
	ErrBigEndian = errors.New("the file is big-endian: convert it with gguf_convert_endian.py of llama.cpp")
	ErrSplit     = errors.New("the model is split over several files: merge them with llama-gguf-split --merge")
	ErrTruncated = errors.New("the file ends too early: it is damaged or its download is incomplete, so fetch it again")

	// ErrSameFile is returned by Write if the output would replace one of its sources.
	ErrSameFile = errors.New("the output would replace the model that it is made from: choose another name")
)

// FormatError says what in a file breaks the rules of GGUF, and where.
type FormatError struct {
	Offset int64  // byte in the file, or -1 for a file not yet written
	Part   string // what stands there: a key, a tensor, a count
	What   string // what is wrong with it; may be empty if Err is set
	Err    error  // one of the errors above, or nil
}

func (e *FormatError) Error() string {
	s := e.Part
	if e.Offset >= 0 {
		s = fmt.Sprintf("%s at byte %d", e.Part, e.Offset)
	}
	if e.What != "" {
		s += ": " + e.What
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *FormatError) Unwrap() error { return e.Err }
