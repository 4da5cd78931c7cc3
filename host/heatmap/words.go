package heatmap

import (
	"strings"
	"unicode"
)

// short is the start of a digest, enough to know it by.
func short(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	return digest[:min(12, len(digest))]
}

// abridge cuts a long list short at a comma.
func abridge(list string) string {
	const longest = 36
	if len(list) <= longest {
		return list
	}
	return list[:strings.LastIndex(list[:longest], ",")+1] + " …"
}

// plain drops from a name that came with a model or a text what a terminal or a
// browser would obey, or what makes an SVG invalid.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\ufeff' {
			return -1
		}
		return r
	}, s)
}
