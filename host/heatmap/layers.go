package heatmap

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// A run is a range of consecutive layers, both ends included.
type run struct{ first, last int }

// runs splits a sorted set of layers into its runs.
func runs(layers []int) []run {
	var out []run
	for _, l := range layers {
		if n := len(out); n > 0 && out[n-1].last == l-1 {
			out[n-1].last = l
		} else {
			out = append(out, run{l, l})
		}
	}
	return out
}

// spell writes a set of layers for people: "layer 5", "layers 3, 11-16".
func spell(layers []int) string {
	var parts []string
	for _, r := range runs(layers) {
		if r.first == r.last {
			parts = append(parts, strconv.Itoa(r.first))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.first, r.last))
		}
	}
	if len(layers) == 1 {
		return "layer " + parts[0]
	}
	return "layers " + strings.Join(parts, ", ")
}

// many writes a number of things: "1 chunk", "12,345 tokens".
func many(n int64, what string) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if n != 1 {
		what += "s"
	}
	return s + " " + what
}

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

// plain drops control characters from a name that came with a model or a text,
// which would reach a terminal or make an SVG invalid.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}
