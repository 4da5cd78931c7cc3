package lessons

import (
	"errors"
	"fmt"
)

// A Packing says how documents become rows.
type Packing struct {
	Length int     // tokens of a row
	Begin  []int32 // what every prompt of the model begins with, and so each piece; often one token or none
	Least  int     // tokens to learn, all together; with fewer there is no training. 0 means 1
}

// Validate names the field at fault.
func (c Packing) Validate() error {
	switch {
	case c.Length < len(c.Begin)+2:
		return fmt.Errorf("length %d holds no two tokens of a document behind the %d that begin every prompt; give at least %d", c.Length, len(c.Begin), len(c.Begin)+2)
	case c.Least < 0:
		return fmt.Errorf("least is %d tokens to learn; give 0 or more", c.Least)
	}
	return nil
}

// A Row is a sequence of Length tokens from one or more documents that do not see
// each other. All slices but Pieces have Length entries; those behind the last
// document are 0.
type Row struct {
	Tokens   []int32
	Segment  []int32   // number of the piece within the row, from 1; 0 is padding
	Position []int32   // within the piece, from 0
	Target   []int32   // the token that follows in the document; 0 where none does
	Weight   []float32 // 1 where Target is to be learnt, else 0

	Pieces []int // that lie in it, in their order: indices of Packed.Pieces
}

// Packed is documents in rows.
type Packed struct {
	Rows   []Row
	Pieces []Piece // in the order of the documents
	Learnt int     // tokens: the sum of all weights
	Filled int     // tokens of all pieces
}

// Padding is the share of the rows that is empty.
func (p Packed) Padding() float64 {
	if len(p.Rows) == 0 {
		return 0
	}
	return 1 - float64(p.Filled)/float64(len(p.Rows)*len(p.Rows[0].Tokens))
}

// Sequences are the tokens of the pieces, each to be run from an empty context to
// observe what Lay puts into the rows.
func (p Packed) Sequences() [][]int32 {
	out := make([][]int32, len(p.Pieces))
	for i, piece := range p.Pieces {
		out[i] = piece.Tokens
	}
	return out
}

// Pack lays documents into rows. A document that does not fit into one is cut into
// pieces; the last token of a piece is still followed by the next one of the document, so
// that every token to be learnt is learnt once, save for the first of a document. A
// piece with nothing to learn is left out. The same documents give the same rows, in
// the order of the first document in each.
func Pack(docs []Tokens, c Packing) (Packed, error) {
	if err := c.Validate(); err != nil {
		return Packed{}, fmt.Errorf("pack lessons: %w", err)
	}
	var p Packed
	for i, d := range docs {
		if d.Learn != nil && len(d.Learn) != len(d.IDs) {
			return Packed{}, fmt.Errorf("pack lessons: document %d has %d tokens and says of %d whether to learn them", i, len(d.IDs), len(d.Learn))
		}
		p.Pieces = append(p.Pieces, cutDocument(i, d, c)...)
	}
	lengths := make([]int, len(p.Pieces))
	for i, piece := range p.Pieces {
		lengths[i] = len(piece.Tokens)
		p.Filled += len(piece.Tokens)
	}
	for row, pieces := range fit(lengths, c.Length) {
		r := newRow(c.Length)
		r.Pieces = pieces
		at := 0
		for segment, i := range pieces {
			piece := &p.Pieces[i]
			piece.Row, piece.At = row, at
			p.Learnt += r.put(*piece, docs[piece.Document], int32(segment+1))
			at += len(piece.Tokens)
		}
		p.Rows = append(p.Rows, r)
	}
	if least := max(1, c.Least); p.Learnt < least {
		return Packed{}, tooFew(docs, p.Learnt, least)
	}
	return p, nil
}

func tooFew(docs []Tokens, learnt, least int) error {
	if len(docs) == 0 {
		return errors.New("pack lessons: there are no documents; give text or chats")
	}
	return fmt.Errorf("the text has %d tokens to learn; training takes at least %d: give more text", learnt, least)
}

func newRow(length int) Row {
	return Row{
		Tokens:   make([]int32, length),
		Segment:  make([]int32, length),
		Position: make([]int32, length),
		Target:   make([]int32, length),
		Weight:   make([]float32, length),
	}
}

// put lays a piece of a document into the row, and returns how many tokens it teaches.
func (r Row) put(p Piece, d Tokens, segment int32) (learnt int) {
	for j, token := range p.Tokens {
		at := p.At + j
		r.Tokens[at], r.Segment[at], r.Position[at] = token, segment, int32(j)
		i := p.From + j - p.begun() // of the document
		if next := i + 1; i >= p.From && next < len(d.IDs) {
			r.Target[at] = d.IDs[next]
			if d.learns(next) {
				r.Weight[at] = 1
				learnt++
			}
		}
	}
	return learnt
}
