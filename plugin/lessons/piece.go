package lessons

import (
	"fmt"
	"slices"
)

// A Piece is a stretch of a document, and where it lies.
type Piece struct {
	Document int     // index
	From, To int     // of the document's tokens, [From, To)
	Tokens   []int32 // those, behind what begins every prompt
	Row, At  int     // in that row they begin at At
}

// Lay puts what was observed of a piece, a matrix of one line for each of its tokens,
// into the lines of its row that it takes up. A row is a matrix of length lines.
func Lay[E any](p Piece, length int, observed, row []E) error {
	width := len(row) / max(1, length)
	if p.At+len(p.Tokens) > length || len(row) != length*width || len(observed) != len(p.Tokens)*width {
		return fmt.Errorf("lay document %d into row %d: %d numbers of %d tokens do not go into %d of %d", p.Document, p.Row, len(observed), len(p.Tokens), len(row), length)
	}
	copy(row[p.At*width:], observed)
	return nil
}

// begun counts the tokens that were put before those of the document.
func (p Piece) begun() int { return len(p.Tokens) - (p.To - p.From) }

// cutDocument returns the pieces of a document that teach something.
func cutDocument(index int, d Tokens, c Packing) (pieces []Piece) {
	begin := c.Begin
	if len(d.IDs) >= len(begin) && slices.Equal(d.IDs[:len(begin)], begin) {
		begin = nil // it has it already
	}
	for from := 0; from < len(d.IDs); {
		to := min(len(d.IDs), from+c.Length-len(begin))
		if d.teaches(from, to) {
			pieces = append(pieces, Piece{Document: index, From: from, To: to, Tokens: slices.Concat(begin, d.IDs[from:to])})
		}
		from, begin = to, c.Begin
	}
	return pieces
}

// teaches reports whether a token that follows one of [from, to) is to be learnt.
func (t Tokens) teaches(from, to int) bool {
	for next := from + 1; next <= to && next < len(t.IDs); next++ {
		if t.learns(next) {
			return true
		}
	}
	return false
}

func (t Tokens) learns(i int) bool { return t.Learn == nil || t.Learn[i] }
