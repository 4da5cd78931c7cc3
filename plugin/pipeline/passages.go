package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"pare/plugin"
	"pare/plugin/corpus"
)

// window is how many tokens are run from an empty context. It is that of most
// published perplexities of GGUF models.
const window = 512

// A passage is a sequence of tokens to be scored.
type passage struct {
	style string
	id    string // digest of the tokens and of what is scored
	piece int    // index of the document it is of
	plugin.Sequence
}

func newPassage(style string, tokens []int32, from int) passage {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, int64(from))
	binary.Write(h, binary.LittleEndian, tokens)
	return passage{style: style, id: hex.EncodeToString(h.Sum(nil)[:16]), Sequence: plugin.Sequence{Tokens: tokens, From: from}}
}

// passagesOf tokenizes documents and cuts them up. One that fits into a window is
// scored from its second token on. A longer one is cut into windows of which the
// second half is scored, and what is left behind the last whole one is not: the
// protocol of llama.cpp's perplexity tool, with the token that begins a prompt put
// in the place of the first of each window, where the model has one. The first
// windows of all documents come first, so that each prefix is as fair a sample as one
// of the documents.
func passagesOf(ctx context.Context, h plugin.Host, m plugin.Model, docs []corpus.Document, window int) ([]passage, error) {
	texts := []string{""} // what of it begins every prompt
	for _, d := range docs {
		texts = append(texts, d.Text)
	}
	tokens, err := h.Tokenize(ctx, m.Name, texts)
	if err != nil {
		return nil, err
	}
	windows := make([][]passage, len(docs))
	for i, d := range docs {
		windows[i] = cutWindows(d.Style, tokens[i+1], tokens[0], window)
	}
	out := inTurns(windows)
	if len(out) == 0 {
		return nil, plugin.Errorf(plugin.Invalid, "the text is too short to be scored: give at least a sentence")
	}
	return out, nil
}

// cutWindows cuts the tokens of one document, which begin with begin.
func cutWindows(style string, tokens, begin []int32, window int) []passage {
	if len(tokens) <= window {
		if from := max(1, len(begin)); from < len(tokens) {
			return []passage{newPassage(style, tokens, from)}
		}
		return nil
	}
	var out []passage
	for ; len(tokens) >= window; tokens = tokens[window:] {
		chunk := append([]int32(nil), tokens[:window]...)
		copy(chunk, begin)
		out = append(out, newPassage(style, chunk, window/2+1))
	}
	return out
}

// shortPassages cuts documents into pieces of at most window tokens, all of which
// but the first are scored, the first pieces of all documents first: many short
// pieces tell cuts apart better than few long ones. The token that begins a prompt
// takes the place of the first of each, as in passagesOf.
func shortPassages(ctx context.Context, h plugin.Host, m plugin.Model, docs []corpus.Document, window int) ([]passage, error) {
	texts := []string{""}
	for _, d := range docs {
		texts = append(texts, d.Text)
	}
	tokens, err := h.Tokenize(ctx, m.Name, texts)
	if err != nil {
		return nil, err
	}
	begin := tokens[0]
	from := max(1, len(begin))
	cuts := make([][]passage, len(docs))
	for i, d := range docs {
		for left := tokens[i+1]; len(left) > from; {
			n := min(window, len(left))
			chunk := slices.Clone(left[:n])
			copy(chunk, begin)
			cuts[i] = append(cuts[i], newPassage(d.Style, chunk, from))
			left = left[n:]
		}
	}
	out := inTurns(cuts)
	if len(out) == 0 {
		return nil, plugin.Errorf(plugin.Invalid, "the text is too short to choose layers by: give at least a sentence")
	}
	return out, nil
}

// inTurns lists the first passages of all documents, then the second ones, and so on.
func inTurns(documents [][]passage) (out []passage) {
	for turn, left := 0, true; left; turn++ {
		left = false
		for i, ps := range documents {
			if turn < len(ps) {
				ps[turn].piece = i
				out = append(out, ps[turn])
				left = true
			}
		}
	}
	return out
}

// sample is upTo, with a note where that is not all.
func sample(all []passage, tokens int) (ps []passage, notes []string) {
	if ps = upTo(all, tokens); len(ps) < len(all) {
		notes = []string{fmt.Sprintf("a sample of the text was scored: %d of %d passages", len(ps), len(all))}
	}
	return ps, notes
}

// upTo is the longest prefix of passages with at most so many tokens, at least one.
func upTo(ps []passage, tokens int) []passage {
	for i, p := range ps {
		if tokens -= len(p.Tokens); tokens < 0 && i > 0 {
			return ps[:i]
		}
	}
	return ps
}
