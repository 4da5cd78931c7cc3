package gguf

import (
	"cmp"
	"fmt"
	"slices"
)

// checkTensors checks where the tensors' data lies: aligned, inside the file, and
// each for itself. Order, gaps and what follows the last tensor are free.
func (f *File) checkTensors() error {
	order := make([]int, len(f.Tensors))
	for i, t := range f.Tensors {
		order[i] = i
		if t.Offset%f.Alignment != 0 {
			return f.misplaced(t, fmt.Sprintf("its offset %d is not a multiple of the alignment, %d", t.Offset, f.Alignment), nil)
		}
		room := max(f.Size-f.DataOffset, 0)
		if t.Offset > uint64(room) || t.Size > uint64(room)-t.Offset {
			return f.misplaced(t, fmt.Sprintf("its %d bytes at offset %d exceed the %d bytes of data that there are", t.Size, t.Offset, room), ErrTruncated)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Compare(f.Tensors[a].Offset, f.Tensors[b].Offset)
	})
	var end uint64
	var last string
	for _, i := range order {
		t := f.Tensors[i]
		if t.Size == 0 {
			continue
		}
		if t.Offset < end {
			return f.misplaced(t, fmt.Sprintf("it overlaps tensor %q", last), nil)
		}
		end, last = t.Offset+t.Size, t.Name
	}
	return nil
}

// misplaced reports a tensor whose data is not where it should be.
func (f *File) misplaced(t Tensor, what string, err error) error {
	at := int64(-1)
	if t.Offset <= uint64(f.Size) {
		at = f.DataOffset + int64(t.Offset)
	}
	return &FormatError{Offset: at, Part: fmt.Sprintf("data of tensor %q", t.Name), What: what, Err: err}
}
