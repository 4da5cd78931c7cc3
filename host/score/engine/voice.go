package engine

import (
	"strings"
	"unicode/utf8"
)

// A voice gives on an answer, which comes as the texts of tokens, in whole
// characters, without a stop string: what may be the beginning of one waits for
// what follows.
type voice struct {
	stops   []string
	say     func(text string) error
	said    strings.Builder
	waiting string
}

// add takes the text of one token. It reports true when a stop string ended it.
func (v *voice) add(piece string) (bool, error) {
	v.waiting += piece
	if i := firstStop(v.waiting, v.stops); i >= 0 {
		v.waiting = v.waiting[:i]
		return true, v.flush(len(v.waiting))
	}
	n := len(v.waiting) - max(begun(v.waiting, v.stops), unfinished(v.waiting))
	return false, v.flush(n)
}

// end gives on what waits.
func (v *voice) end() error { return v.flush(len(v.waiting)) }

func (v *voice) flush(n int) error {
	text := strings.ToValidUTF8(v.waiting[:n], "\uFFFD")
	v.waiting = v.waiting[n:]
	if text == "" {
		return nil
	}
	v.said.WriteString(text)
	return v.say(text)
}

// firstStop is where the first stop string begins, or -1.
func firstStop(text string, stops []string) int {
	first := -1
	for _, s := range stops {
		if i := strings.Index(text, s); s != "" && i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	return first
}

// begun is how many bytes at the end of text may begin a stop string.
func begun(text string, stops []string) int {
	longest := 0
	for _, s := range stops {
		for n := min(len(s)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, s[:n]) {
				longest = n
			}
		}
	}
	return longest
}

// unfinished is how many bytes at the end of text begin a character.
func unfinished(text string) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if end := text[len(text)-n:]; utf8.RuneStart(end[0]) {
			if utf8.FullRuneInString(end) {
				return 0
			}
			return n
		}
	}
	return 0
}
