package profile

import (
	"fmt"
	"slices"
	"strings"
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
	var b strings.Builder
	for i, r := range runs(layers) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprint(&b, r.first)
		if r.last > r.first {
			fmt.Fprintf(&b, "-%d", r.last)
		}
	}
	if len(layers) == 1 {
		return "layer " + b.String()
	}
	return "layers " + b.String()
}

// block is the set of n layers from a.
func block(a, n int) []int {
	set := make([]int, n)
	for i := range set {
		set[i] = a + i
	}
	return set
}

// sorted returns a sorted copy of a list of layers, after checking that each is
// in the model and named once. field is what an error blames.
func sorted(field string, layers int, list []int) ([]int, error) {
	list = slices.Sorted(slices.Values(list))
	for i, l := range list {
		if l < 0 || l >= layers {
			return nil, &SelectionError{field, fmt.Sprintf("there is no layer %d: the layers are 0 to %d", l, layers-1)}
		}
		if i > 0 && list[i-1] == l {
			return nil, &SelectionError{field, fmt.Sprintf("layer %d is named twice: name each once", l)}
		}
	}
	if len(list) == 0 {
		return nil, &SelectionError{field, "it names no layer"}
	}
	return list, nil
}
