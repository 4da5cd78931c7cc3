package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pare/plugin"
	"pare/plugin/corpus"
)

// ofWords is a document of n different words.
func ofWords(style string, n int) corpus.Document {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprint(style, i)
	}
	return corpus.Document{Style: style, Text: strings.Join(words, " ")}
}

// TestPassagesFollowTheProtocol cuts documents of every length that matters. The
// numbers are those of llama.cpp's perplexity tool: of 512 tokens the last 255 are
// scored.
func TestPassagesFollowTheProtocol(t *testing.T) {
	for _, c := range []struct {
		words  int
		bare   bool
		from   []int    // of each passage
		length []int    // of each passage, tokens
		begins []string // of each passage, the first two tokens
	}{
		{words: 1, from: []int{1}, length: []int{2}, begins: []string{"<s> w0"}},
		{words: 2, bare: true, from: []int{1}, length: []int{2}, begins: []string{"w0 w1"}},
		{words: 511, from: []int{1}, length: []int{512}, begins: []string{"<s> w0"}},
		{words: 512, bare: true, from: []int{1}, length: []int{512}, begins: []string{"w0 w1"}},
		{words: 512, from: []int{257}, length: []int{512}, begins: []string{"<s> w0"}},
		{words: 513, bare: true, from: []int{257}, length: []int{512}, begins: []string{"w0 w1"}},
		{words: 1022, from: []int{257}, length: []int{512}, begins: []string{"<s> w0"}},
		{words: 1023, from: []int{257, 257}, length: []int{512, 512}, begins: []string{"<s> w0", "<s> w512"}},
		{words: 1500, bare: true, from: []int{257, 257}, length: []int{512, 512}, begins: []string{"w0 w1", "w512 w513"}},
	} {
		h := newBench(t)
		h.bare = c.bare
		ps, err := passagesOf(t.Context(), h, h.model, []corpus.Document{ofWords("w", c.words)}, window)
		if err != nil || len(ps) != len(c.from) {
			t.Errorf("%d words: %d passages, want %d: %v", c.words, len(ps), len(c.from), err)
			continue
		}
		for i, p := range ps {
			if p.style != "w" || p.From != c.from[i] || len(p.Tokens) != c.length[i] || h.text(p.Tokens[:2]) != c.begins[i] {
				t.Errorf("%d words, passage %d: %d tokens of %q from %d on: %q", c.words, i, len(p.Tokens), p.style, p.From, h.text(p.Tokens[:2]))
			}
		}
	}
}

// TestPassagesOfADocumentEach never lets two documents share a context, and names
// equal passages alike.
func TestPassagesOfADocumentEach(t *testing.T) {
	h := newBench(t)
	docs := []corpus.Document{ofWords("a", 5), {Style: "empty"}, ofWords("b", 600), ofWords("a", 5)}
	ps, err := passagesOf(t.Context(), h, h.model, docs, window)
	if err != nil || len(ps) != 3 {
		t.Fatalf("%d passages, %v", len(ps), err)
	}
	if ps[0].style != "a" || ps[1].style != "b" || ps[0].id != ps[2].id || ps[0].id == ps[1].id {
		t.Errorf("%+v", ps)
	}
	if other := newPassage("a", ps[0].Tokens, 2); other.id == ps[0].id {
		t.Error("a passage scored from another token on has the same name")
	}
}

// TestTextTooShort refuses what holds nothing to score.
func TestTextTooShort(t *testing.T) {
	h := newBench(t)
	h.bare = true
	docs := []corpus.Document{{Text: "word"}, {Text: ""}}
	_, err := passagesOf(t.Context(), h, h.model, docs, window)
	_, short := shortPassages(t.Context(), h, h.model, docs, triedWindow)
	for _, err := range []error{err, short} {
		if plugin.KindOf(err) != plugin.Invalid || !strings.Contains(fmt.Sprint(err), "too short") {
			t.Errorf("refused with %v", err)
		}
	}
}

// TestShortPassages takes the first pieces of all documents first, and drops a last
// token that stands alone.
func TestShortPassages(t *testing.T) {
	h := newBench(t)
	h.bare = true
	docs := []corpus.Document{ofWords("a", 7), ofWords("b", 3), ofWords("c", 11), ofWords("d", 1)}
	ps, err := shortPassages(t.Context(), h, h.model, docs, 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range ps {
		if p.From != 1 {
			t.Errorf("%q is scored from %d on", h.text(p.Tokens), p.From)
		}
		got = append(got, p.style+":"+h.text(p.Tokens))
	}
	want := "a:a0 a1 a2|b:b0 b1 b2|c:c0 c1 c2|a:a3 a4 a5|c:c3 c4 c5|c:c6 c7 c8|c:c9 c10"
	if strings.Join(got, "|") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

// TestShortPassagesBeginAPrompt puts the token that begins a prompt into the place of
// the first of each piece.
func TestShortPassagesBeginAPrompt(t *testing.T) {
	h := newBench(t)
	ps, err := shortPassages(t.Context(), h, h.model, []corpus.Document{ofWords("a", 7), {Style: "empty"}, ofWords("b", 3)}, 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range ps {
		if p.From != 1 {
			t.Errorf("%q is scored from %d on", h.text(p.Tokens), p.From)
		}
		got = append(got, fmt.Sprintf("%d:%s", p.piece, h.text(p.Tokens)))
	}
	want := "0:<s> a0 a1|2:<s> b0 b1|0:<s> a3 a4|0:<s> a6"
	if strings.Join(got, "|") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

// TestPassagesTakeTurns lists the first windows of all documents first.
func TestPassagesTakeTurns(t *testing.T) {
	h := newBench(t)
	ps, err := passagesOf(t.Context(), h, h.model, []corpus.Document{ofWords("a", 1600), ofWords("b", 5), ofWords("c", 1100)}, window)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, p := range ps {
		got = append(got, p.piece)
	}
	if !slices.Equal(got, []int{0, 1, 2, 0, 2, 0}) {
		t.Errorf("windows of documents %v", got)
	}
}

// TestUpTo keeps whole passages, and one at least.
func TestUpTo(t *testing.T) {
	h := newBench(t)
	ps := h.some(t, 3) // of 3, 4 and 5 tokens
	for tokens, want := range map[int]int{0: 1, 2: 1, 6: 1, 7: 2, 11: 2, 12: 3, 100: 3} {
		if got := upTo(ps, tokens); len(got) != want {
			t.Errorf("up to %d tokens: %d passages, want %d", tokens, len(got), want)
		}
	}
}
