package evaluate

import (
	"strings"
	"unicode"
)

// spaceless are the scripts that put no space between words.
var spaceless = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
}

// standsAlone reports whether a character is a word of its own: one of a script
// without spaces, or of the punctuation made for them (CJK Symbols and
// Punctuation, full-width forms).
func standsAlone(r rune) bool {
	return r >= 0x0e00 && (unicode.In(r, spaceless...) || 0x3000 <= r && r <= 0x303f || 0xff00 <= r && r <= 0xffef)
}

// words are the stretches between white space; characters of scripts without
// spaces are words of their own.
func words(text string) []string {
	return split(text, func(_, r, _ rune) bool { return standsAlone(r) })
}

// tokens are the words that BLEU counts. Beyond what [words] separates, each
// sign of ASCII is a token of its own, except the apostrophe, a period or comma
// between two digits, and a hyphen that follows no digit. That is what
// sacrebleu's tokeniser "13a" makes of text, and its "zh" of Chinese, but for
// XML entities, hyphens at the end of a line, and several points before a
// digit.
func tokens(text string) []string {
	return split(text, func(before, r, next rune) bool {
		switch {
		case r == '\'':
			return false
		case r == '.' || r == ',':
			return !digit(before) || !digit(next)
		case r == '-':
			return digit(before)
		case '!' <= r && r <= '~':
			return !digit(r) && !('a' <= r && r <= 'z') && !('A' <= r && r <= 'Z')
		}
		return standsAlone(r)
	})
}

func digit(r rune) bool { return '0' <= r && r <= '9' }

// split cuts a text at white space and around each character that is to be
// alone, given its neighbours; there are spaces before and after a text.
func split(text string, alone func(before, r, next rune) bool) []string {
	var out []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			out = append(out, word.String())
			word.Reset()
		}
	}
	runes := []rune(text)
	at := func(i int) rune {
		if i < 0 || i >= len(runes) {
			return ' '
		}
		return runes[i]
	}
	for i, r := range runes {
		switch {
		case unicode.IsSpace(r):
			end()
		case alone(at(i-1), r, at(i+1)):
			end()
			out = append(out, string(r))
		default:
			word.WriteRune(r)
		}
	}
	end()
	return out
}
