package profile

import (
	"fmt"
	"math"
	"slices"

	"pare/plugin"
)

// A SelectionError blames one field of a plugin.Selection.
type SelectionError struct {
	Field  string // as in plugin.Selection, in lower case
	Reason string // what is wrong and what would be right
}

func (e *SelectionError) Error() string { return "selection: " + e.Field + ": " + e.Reason }

// A request is a selection checked against a model.
type request struct {
	layers    int
	n         int   // how many layers go
	remove    []int // which, sorted, where the selection names them
	by        criterion
	last      bool   // score on the output rows alone
	keep      []bool // per layer: must stay in whatever is proposed
	protected []int
}

// resolve checks a selection and works out the number of layers.
func resolve(layers int, sel plugin.Selection) (request, error) {
	r := request{layers: layers, keep: make([]bool, layers)}
	if layers < 2 {
		return r, plugin.Errorf(plugin.Refused, "choose layers: a model of %d layers has none to spare", layers)
	}
	var err error
	if r.by, err = named(sel.Criterion); err != nil {
		return r, err
	}
	switch sel.Tokens {
	case "", "all":
	case "last":
		r.last = true
	default:
		return r, &SelectionError{"tokens", fmt.Sprintf(`%q is unknown: use "all" or "last"`, sel.Tokens)}
	}
	for _, l := range sel.Protect {
		if l < 0 || l >= layers {
			return r, &SelectionError{"protect", fmt.Sprintf("there is no layer %d: the layers are 0 to %d", l, layers-1)}
		}
		r.keep[l] = true
	}
	for l, kept := range r.keep {
		if kept {
			r.protected = append(r.protected, l)
		}
	}
	r.keep[layers-1] = true
	if err := r.size(sel); err != nil {
		return r, err
	}
	if r.remove != nil && r.by.runs {
		// Nothing is left to choose, and the distance can be told without a run.
		r.by, err = named("angular")
	}
	return r, err
}

// size sets n, and remove where the selection names layers.
func (r *request) size(sel plugin.Selection) error {
	set := 0
	for _, given := range []bool{sel.Rate != 0, sel.Layers != 0, len(sel.Remove) > 0} {
		if given {
			set++
		}
	}
	switch {
	case set == 0 && sel.Remove != nil:
		return &SelectionError{"remove", "it names no layer"}
	case set == 0:
		return &SelectionError{"rate", "nothing to remove: give a share of the layers above 0 and below 1, a number of layers, or the layers themselves"}
	case set > 1:
		return &SelectionError{"rate", "more than one of rate, layers and remove is given: give one"}
	case len(sel.Remove) > 0:
		return r.exact(sel.Remove)
	case sel.Layers != 0:
		r.n = sel.Layers
		if r.n < 1 || r.n >= r.layers {
			return &SelectionError{"layers", fmt.Sprintf("cannot remove %d of %d layers: give 1 to %d", r.n, r.layers, r.layers-1)}
		}
	default:
		if !(sel.Rate > 0 && sel.Rate < 1) { // catches NaN too
			return &SelectionError{"rate", fmt.Sprintf("%g is out of range: give a share above 0 and below 1, such as 0.25", sel.Rate)}
		}
		r.n = max(1, int(math.Round(sel.Rate*float64(r.layers))))
		if r.n >= r.layers {
			return &SelectionError{"rate", fmt.Sprintf("%g of %d layers is all of them: give at most %.3g",
				sel.Rate, r.layers, float64(r.layers-1)/float64(r.layers))}
		}
	}
	return nil
}

// exact takes the layers that the selection names.
func (r *request) exact(remove []int) (err error) {
	if r.remove, err = sorted("remove", r.layers, remove); err != nil {
		return err
	}
	r.n = len(r.remove)
	if r.n == r.layers {
		return &SelectionError{"remove", fmt.Sprintf("it names all %d layers: keep at least one", r.layers)}
	}
	for _, l := range r.remove {
		if slices.Contains(r.protected, l) {
			return &SelectionError{"protect", fmt.Sprintf("layer %d is named in remove too: take it out of one of them", l)}
		}
	}
	return nil
}
