package profile

import (
	"fmt"
	"slices"
)

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
