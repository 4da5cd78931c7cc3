package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain makes one line of a string that came from a stranger: no control
// character, no line break, and nothing that turns the direction of what
// stands beside it.
func plain(s string) string { return strings.Join(strings.Fields(printable(s)), " ") }

// printable drops from a text what a terminal or a browser would obey, and
// keeps its lines.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == utf8.RuneError, r == '\ufeff':
			return -1
		}
		return r
	}, s)
}

// clip shortens a name in the middle, so that its end, which often tells names
// apart, stays.
func clip(s string, columns int) string {
	r := []rune(s)
	if len(r) <= columns {
		return s
	}
	head := columns / 2
	return string(r[:head]) + "…" + string(r[len(r)-(columns-head-1):])
}

// wrap breaks a paragraph into lines of at most the given columns; those after
// the first begin with indent.
func wrap(s string, columns int, indent string) []string {
	var lines []string
	line, width := "", 0
	for _, word := range strings.Fields(s) {
		n := utf8.RuneCountInString(word)
		if width > 0 && width+1+n > columns {
			lines = append(lines, line)
			line, width = "", 0
		}
		switch {
		case width > 0:
			line, width = line+" "+word, width+1+n
		case len(lines) > 0:
			line, width = indent+word, len(indent)+n
		default:
			line, width = word, n
		}
	}
	return append(lines, line)
}
