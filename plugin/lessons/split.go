package lessons

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"pare/plugin/corpus"
)

const (
	// pieceRunes bounds the pieces of text that are parted one by one. It is that of
	// the texts that layers are chosen by, so that a piece of those is known again.
	pieceRunes = 2000
	// leastRunes is what pieces are not made shorter than, to have more of them.
	leastRunes = 200
	// wholeFrom is the number of documents from which each stays on one side.
	wholeFrom = 5
	// joined is how many pieces in a row make one lesson again.
	joined = 8
)

// Parts are lessons to train on and others to judge the training by. No piece of
// text is in both, nor is a question with two answers. Each is in the order of the
// digests, so that the first of either are a fair sample of it.
type Parts struct {
	Train, Held []Lesson
	Used        int // pieces left out because they had been used, or were there before
}

// A piece is a stretch of a document, or a chat.
type piece struct {
	Lesson
	document int
	number   int    // within the document
	side     string // pieces of the same are held out or trained on together
}

// Split holds out about a share of the lessons, at least one and not all. Which
// ones depends on their words alone. Of a few documents only, parts are held out:
// long texts are cut into pieces first. What used reports to be used, to choose
// layers by or to be scored, is on neither side; used may be nil.
func Split(all []Lesson, share float64, used func(text string) bool) (Parts, error) {
	if len(all) == 0 {
		return Parts{}, errors.New("there are no lessons to part; give text or chats")
	}
	pieces := cut(all)
	fresh := unused(pieces, used)
	if len(fresh) == 0 {
		return Parts{}, errors.New("all of the text was used before, to choose layers by or to be scored; give other text to learn from")
	}
	nameSides(fresh, all)
	held := chooseHeld(fresh, share)
	if len(held) == 0 {
		return Parts{}, fmt.Errorf("there is only one short text or question, of %d characters, too little to train on and hold a part out; give a page at least", runes(all))
	}
	return Parts{
		Train: join(fresh, func(p piece) bool { return !held[p.side] }),
		Held:  join(fresh, func(p piece) bool { return held[p.side] }),
		Used:  len(pieces) - len(fresh),
	}, nil
}

// cut makes the pieces of all lessons, in their order.
func cut(all []Lesson) []piece {
	limit := pieceRunes
	if len(all) < wholeFrom {
		limit = min(max(runes(all)/(2*wholeFrom), leastRunes), pieceRunes)
	}
	var out []piece
	for i, l := range all {
		if l.Chat != nil {
			out = append(out, piece{Lesson: l, document: i})
			continue
		}
		number := 0
		// A short piece is also known by the long one that it would be cut from elsewhere.
		for _, long := range corpus.Chunk([]corpus.Document{{Text: l.Text}}, pieceRunes) {
			for _, short := range corpus.Chunk([]corpus.Document{long}, limit) {
				lesson := Lesson{Text: short.Text, parts: []string{short.Text, long.Text}}
				out = append(out, piece{Lesson: lesson, document: i, number: number})
				number++
			}
		}
	}
	return out
}

// runes counts the characters of all texts, and of chats.
func runes(all []Lesson) (n int) {
	for _, l := range all {
		n += utf8.RuneCountInString(l.Text)
		for _, m := range l.Chat {
			n += utf8.RuneCountInString(m.Content)
		}
	}
	return n
}

// unused keeps the first of equal pieces, and none that were used or are blank.
func unused(pieces []piece, used func(string) bool) (fresh []piece) {
	seen := make(map[string]bool)
	for _, p := range pieces {
		if p.Chat == nil && strings.TrimSpace(p.Text) == "" {
			continue
		}
		if d := p.Digest(); !seen[d] && (used == nil || !slices.ContainsFunc(p.Texts(), used)) {
			seen[d] = true
			fresh = append(fresh, p)
		}
	}
	return fresh
}

// nameSides puts pieces of one document on one side if there are documents enough.
func nameSides(pieces []piece, all []Lesson) {
	documents := make(map[int]bool)
	for _, p := range pieces {
		documents[p.document] = true
	}
	for i := range pieces {
		pieces[i].side = pieces[i].question()
		if len(documents) >= wholeFrom {
			pieces[i].side = all[pieces[i].document].question()
		}
	}
}

// chooseHeld returns the sides that are held out.
func chooseHeld(pieces []piece, share float64) map[string]bool {
	sides := make(map[string]bool)
	var docs []corpus.Document
	for _, p := range pieces {
		if !sides[p.side] {
			sides[p.side] = true
			docs = append(docs, corpus.Document{Text: p.side})
		}
	}
	_, scored := corpus.Split(docs, share)
	held := make(map[string]bool)
	for _, d := range scored {
		held[d.Text] = true
	}
	return held
}

// join puts pieces of one side that follow one another in a document together, so
// that long text stays long, and sorts what results.
func join(pieces []piece, mine func(piece) bool) []Lesson {
	var out []Lesson
	var last piece
	var run []piece
	flush := func() {
		if len(run) > 0 {
			out = append(out, whole(run))
		}
		run = nil
	}
	for _, p := range pieces {
		if !mine(p) {
			continue
		}
		if len(run) == joined || p.document != last.document || p.number != last.number+1 {
			flush()
		}
		run, last = append(run, p), p
	}
	flush()
	slices.SortFunc(out, func(a, b Lesson) int { return cmp.Compare(a.Digest(), b.Digest()) })
	return out
}

// whole is the lesson of pieces that follow one another.
func whole(run []piece) Lesson {
	if run[0].Chat != nil {
		return run[0].Lesson
	}
	var text strings.Builder
	var parts []string
	for _, p := range run {
		text.WriteString(p.Text)
		parts = append(parts, p.parts...)
	}
	slices.Sort(parts)
	return Lesson{Text: strings.TrimSpace(text.String()), parts: slices.Compact(parts)}
}
