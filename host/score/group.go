package score

import "pare/plugin"

// Common is the number of tokens that a and b begin with alike.
func Common(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// Share reports whether b is worth computing right after a, from what they begin
// with alike: the token that begins every text is not.
func Share(a, b []int32) bool {
	return 4*Common(a, b) >= len(b)
}

// group is how many of the sequences come first and share a beginning, one after
// another.
func group(sequences []plugin.Sequence) int {
	n := min(1, len(sequences))
	for n > 0 && n < len(sequences) && Share(sequences[n-1].Tokens, sequences[n].Tokens) {
		n++
	}
	return n
}
