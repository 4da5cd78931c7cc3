package corpus

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Chunk cuts documents that are longer than maxRunes into pieces of at most
// maxRunes runes. A piece ends at the last paragraph, else sentence, else line
// that leaves it at least half full, else after its last word, and in the middle
// of a word only if that fills the piece. The pieces of a document, joined, are the
// document; no piece holds text of two. A maxRunes below 1 means no limit.
func Chunk(docs []Document, maxRunes int) []Document {
	if maxRunes < 1 {
		return docs
	}
	var chunks []Document
	for _, d := range docs {
		rest := d.Text
		for {
			n := pieceLen(rest, maxRunes)
			chunks = append(chunks, Document{d.Style, rest[:n]})
			if rest = rest[n:]; rest == "" {
				break
			}
		}
	}
	return chunks
}

// pieceLen returns the length, in bytes, of the first piece of text.
func pieceLen(text string, maxRunes int) int {
	half, end := runeOffset(text, (maxRunes+1)/2), runeOffset(text, maxRunes)
	if end == len(text) {
		return end
	}
	window := text[:end]
	for _, boundary := range []func(string) int{lastParagraph, lastSentence, lastLine} {
		if n := boundary(window); n >= half {
			return n
		}
	}
	if n := lastWord(window); strings.TrimSpace(window[:n]) != "" {
		return n
	}
	return end
}

// runeOffset returns the byte offset of rune n of text, or its length if it is shorter.
func runeOffset(text string, n int) int {
	for i := range text {
		if n == 0 {
			return i
		}
		n--
	}
	return len(text)
}

// Each of these returns the offset behind the last of something, with the white
// space that follows it, or 0.

func lastParagraph(s string) int {
	if i := strings.LastIndex(s, "\n\n"); i >= 0 {
		return i + 2
	}
	return 0
}

func lastLine(s string) int { return strings.LastIndexByte(s, '\n') + 1 }

func lastWord(s string) int {
	i := strings.LastIndexFunc(s, unicode.IsSpace)
	if i < 0 {
		return 0
	}
	_, size := utf8.DecodeRuneInString(s[i:])
	return i + size
}

// lastSentence wants white space after a full stop, because one may also
// stand in a number or a name. Chinese and Japanese marks need none.
func lastSentence(s string) int {
	last := 0
	var stopped, wide bool // the last mark was a stop, a wide one
	for i, r := range s {
		behind := i + utf8.RuneLen(r)
		switch {
		case strings.ContainsRune("。！？", r):
			stopped, wide, last = true, true, behind
		case strings.ContainsRune(".!?…", r):
			stopped, wide = true, false
		case strings.ContainsRune(`"')]»”’」`, r):
			if wide {
				last = behind
			}
		case unicode.IsSpace(r):
			if stopped {
				last = behind
			}
		default:
			stopped, wide = false, false
		}
	}
	return last
}
