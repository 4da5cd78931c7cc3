package gguf

import (
	"fmt"
	"io"
	"math"
)

// piece is a run of bytes of the output and where it comes from. With neither a
// file nor a reader it is zeros.
type piece struct {
	n    int64
	name string // of the tensor, for errors
	from func() (io.Reader, error)
	file *File
	at   int64
}

// plan is a layout with every byte's place decided.
type plan struct {
	header []byte
	pieces []piece // what follows the header
	size   int64   // of the whole file
}

// plan decides where everything goes. If the tensors are just those of the file
// that the layout was taken from, they stay where they are, with all that lies
// between and behind them; else they are packed in their order.
func (l Layout) plan() (plan, error) {
	alignment, err := l.complete()
	if err != nil {
		return plan{}, err
	}
	var p plan
	if l.kept(alignment) {
		p = l.keep()
	} else if p, err = l.pack(alignment); err != nil {
		return plan{}, err
	}
	// What Read would refuse is not written.
	if _, err := readHeader(inMemory(p.header, p.size)); err != nil {
		return plan{}, err
	}
	return p, nil
}

// kept reports whether the data section is still that of l.like.
func (l Layout) kept(alignment uint64) bool {
	if l.like == nil || len(l.Tensors) != len(l.like.Tensors) || alignment != l.like.Alignment {
		return false
	}
	for i, s := range l.Tensors {
		t := l.like.Tensors[i]
		if s.From != nil || s.file != l.like || s.Size != t.Size || s.at != l.like.DataOffset+int64(t.Offset) {
			return false
		}
	}
	return true
}

// keep plans a file with the data section of l.like, and with its padding before
// that section if the header still has the same size.
func (l Layout) keep() plan {
	offsets := make([]uint64, len(l.Tensors))
	for i, t := range l.like.Tensors {
		offsets[i] = t.Offset
	}
	p := plan{header: l.header(offsets)}
	p.size = int64(len(p.header))
	at := l.like.headerSize
	if p.size != at {
		at = l.like.DataOffset
		p.add(piece{n: align(p.size, l.like.Alignment) - p.size})
	}
	if n := l.like.Size - at; n > 0 {
		p.add(piece{n: n, file: l.like, at: at})
	}
	return p
}

// pack plans a file with the tensors one after the other, each padded to the
// alignment: the only arrangement that llama.cpp loads.
func (l Layout) pack(alignment uint64) (plan, error) {
	offsets := make([]uint64, len(l.Tensors))
	var end int64
	for i, t := range l.Tensors {
		offsets[i] = uint64(end)
		if t.Size > math.MaxInt64/2-uint64(end)-alignment {
			return plan{}, fmt.Errorf("tensor %q makes the file too large to count its bytes", t.Name)
		}
		end = align(end+int64(t.Size), alignment)
	}
	p := plan{header: l.header(offsets)}
	p.size = int64(len(p.header))
	p.add(piece{n: align(p.size, alignment) - p.size})
	for _, t := range l.Tensors {
		p.add(piece{n: int64(t.Size), from: t.From, file: t.file, at: t.at, name: t.Name})
		p.add(piece{n: align(int64(t.Size), alignment) - int64(t.Size)})
	}
	return p, nil
}

// add appends a piece, as part of the last one where that goes on in the same
// file. Tensors that are neighbours in both files so become one long copy, and
// the padding between them is copied along.
func (p *plan) add(next piece) {
	if next.from != nil {
		next.file = nil
	} else if next.n == 0 {
		return
	}
	p.size += next.n
	if n := len(p.pieces); n >= 2 && next.file != nil && p.pieces[n-1].file == nil && p.pieces[n-1].from == nil {
		before, padding := &p.pieces[n-2], p.pieces[n-1].n
		if before.file == next.file && before.at+before.n+padding == next.at && padding < int64(next.file.Alignment) {
			before.n += padding + next.n
			p.pieces = p.pieces[:n-1]
			return
		}
	}
	if n := len(p.pieces); n >= 1 && next.file != nil && p.pieces[n-1].file == next.file {
		if before := &p.pieces[n-1]; before.at+before.n == next.at {
			before.n += next.n
			return
		}
	}
	p.pieces = append(p.pieces, next)
}
