package engine

import (
	"slices"

	"pare/host/score"
	"pare/plugin"
)

// keptBytes bounds the logits of the first variant that others are held against.
const keptBytes = 512 << 20

// A piece is a sequence, or a part of one of which more logits would have to be
// kept than there is room for: the tokens up to the last scored one.
type piece struct {
	sequence int // index in the request
	tokens   []int32
	from     int  // the first scored one
	last     bool // of its sequence
}

func (p piece) scored() int { return len(p.tokens) - p.from }

// pieces cuts a sequence so that no piece has more than most scored tokens.
func pieces(i int, s plugin.Sequence, most int) (out []piece) {
	for from := s.From; from < len(s.Tokens); from += most {
		end := min(from+most, len(s.Tokens))
		out = append(out, piece{sequence: i, tokens: s.Tokens[:end], from: from, last: end == len(s.Tokens)})
	}
	return out
}

// groups cuts sequences into runs that are computed by one variant after another:
// those that share a beginning, as long as they have at most so many scored tokens.
func groups(sequences []plugin.Sequence, most int) (out [][]piece) {
	scored := 0
	var before []int32
	for i, s := range sequences {
		for _, p := range pieces(i, s, most) {
			n := len(out)
			if n > 0 && score.Share(before, p.tokens) && scored+p.scored() <= most {
				out[n-1] = append(out[n-1], p)
			} else {
				out, scored = append(out, []piece{p}), 0
			}
			scored, before = scored+p.scored(), p.tokens
		}
	}
	return out
}

// reference is what the first variant gave for the positions of a group, one row
// of the vocabulary after another.
type reference struct {
	rows   []row
	logits []float32
}

// keep appends rows, as the model's own are overwritten by the next batch.
func (r *reference) keep(rows []row, logits [][]float32) {
	r.rows = append(r.rows, rows...)
	for _, l := range logits {
		r.logits = append(r.logits, l...)
	}
}

// at is the i-th row, as long as the vocabulary.
func (r *reference) at(i, vocabulary int) []float32 {
	return r.logits[i*vocabulary : (i+1)*vocabulary]
}

// begin drops what was kept and makes room for a group.
func (r *reference) begin(group []piece, vocabulary int) {
	rows := 0
	for _, p := range group {
		rows += p.scored()
	}
	r.rows, r.logits = r.rows[:0], slices.Grow(r.logits[:0], rows*vocabulary)
}
