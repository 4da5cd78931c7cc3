package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

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
	plugin.Sequence
}

func newPassage(style string, tokens []int32, from int) passage {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, int64(from))
	binary.Write(h, binary.LittleEndian, tokens)
	return passage{style, hex.EncodeToString(h.Sum(nil)[:16]), plugin.Sequence{Tokens: tokens, From: from}}
}

// passagesOf tokenizes documents and cuts them up. One that fits into a window is
// scored from its second token on. A longer one is cut into windows of which the
// second half is scored, and what is left behind the last whole one is not: the
// protocol of llama.cpp's perplexity tool, with the token that begins a prompt put
// in the place of the first of each window, where the model has one.
func passagesOf(ctx context.Context, h plugin.Host, m plugin.Model, docs []corpus.Document, window int) ([]passage, error) {
	texts := []string{""} // what of it begins every prompt
	for _, d := range docs {
		texts = append(texts, d.Text)
	}
	tokens, err := h.Tokenize(ctx, m.Name, texts)
	if err != nil {
		return nil, err
	}
	var out []passage
	for i, d := range docs {
		out = append(out, cutWindows(d.Style, tokens[i+1], tokens[0], window)...)
	}
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
// pieces tell cuts apart better than few long ones, and each prefix is as fair a
// sample as one of the documents.
func shortPassages(ctx context.Context, h plugin.Host, m plugin.Model, docs []corpus.Document, window int) ([]passage, error) {
	texts := make([]string, len(docs))
	for i, d := range docs {
		texts[i] = d.Text
	}
	tokens, err := h.Tokenize(ctx, m.Name, texts)
	if err != nil {
		return nil, err
	}
	var out []passage
	for left := true; left; {
		left = false
		for i, d := range docs {
			n := min(window, len(tokens[i]))
			if n > 1 {
				out = append(out, newPassage(d.Style, tokens[i][:n], 1))
			}
			tokens[i] = tokens[i][n:]
			left = left || len(tokens[i]) > 1
		}
	}
	if len(out) == 0 {
		return nil, plugin.Errorf(plugin.Invalid, "the text is too short to choose layers by: give at least a sentence")
	}
	return out, nil
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
