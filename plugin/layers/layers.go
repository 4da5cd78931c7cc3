// Package layers reads and writes lists of layers as people type them:
// "3,20-27", 0-based, with ranges that include both ends.
package layers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// most bounds a list, so that "0-4000000000" is an error and not an allocation.
const most = 4096

// Parse reads a list. The result is sorted and has no duplicates.
func Parse(s string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(s, ",") {
		first, last, err := parseRange(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("%w; write layers as 20-27 or 3,20-27, counted from 0", err)
		}
		for l := first; l <= last; l++ {
			if slices.Contains(out, l) {
				return nil, fmt.Errorf("layer %d is in %q twice", l, s)
			}
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return out, nil
}

func parseRange(s string) (first, last int, err error) {
	a, b, isRange := strings.Cut(s, "-")
	if first, err = parseLayer(a); err != nil {
		return 0, 0, err
	}
	if !isRange {
		return first, first, nil
	}
	if last, err = parseLayer(b); err != nil {
		return 0, 0, err
	}
	if last < first {
		return 0, 0, fmt.Errorf("range %q runs backwards", s)
	}
	return first, last, nil
}

func parseLayer(s string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is not a layer", s)
	}
	if n >= most {
		return 0, fmt.Errorf("layer %d is beyond any model", n)
	}
	return int(n), nil
}

// A Run is a range of consecutive layers, both ends included.
type Run struct{ First, Last int }

// Runs splits a sorted list into its runs.
func Runs(list []int) []Run {
	var out []Run
	for _, l := range list {
		if n := len(out); n > 0 && out[n-1].Last == l-1 {
			out[n-1].Last = l
		} else {
			out = append(out, Run{l, l})
		}
	}
	return out
}

// Format writes a sorted list the way Parse reads it.
func Format(list []int) string {
	var parts []string
	for _, r := range Runs(list) {
		if r.First == r.Last {
			parts = append(parts, strconv.Itoa(r.First))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
	}
	return strings.Join(parts, ",")
}

// Phrase is Format with the noun: "layer 3", "layers 3,20-27".
func Phrase(list []int) string {
	if len(list) == 1 {
		return "layer " + Format(list)
	}
	return "layers " + Format(list)
}
