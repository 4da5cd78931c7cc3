// Package phrase writes numbers for people.
package phrase

import "strconv"

// Many writes a number of things, whose plural ends in s: "1 chunk", "12,345 tokens".
func Many(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return Thousands(strconv.FormatInt(n, 10)) + " " + what
}

// Thousands sets commas into the digits of a whole number: "-12,345".
func Thousands(digits string) string {
	first := 0
	if digits[0] == '-' {
		first = 1
	}
	for i := len(digits) - 3; i > first; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
