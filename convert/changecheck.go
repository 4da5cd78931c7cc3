package convert

import (
	"errors"
	"fmt"

	"pare/gguf"
)

// checkChanges returns the changes by tensor, if all of them fit f. The error names
// the tensor at fault.
func checkChanges(f *gguf.File, changes []Change) (map[string]Change, error) {
	byName := make(map[string]Change, len(changes))
	for _, c := range changes {
		t, ok := f.Tensor(c.Name)
		if !ok && c.Name == ownHead && c.Dense != nil {
			t, ok = f.Tensor(embedding)
		}
		if !ok {
			return nil, fmt.Errorf("tensor %q: the model has none of that name: are the changes for another model?", c.Name)
		}
		if _, twice := byName[c.Name]; twice {
			return nil, fmt.Errorf("tensor %q: it is changed twice", c.Name)
		}
		if err := c.check(t); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", c.Name, err)
		}
		byName[c.Name] = c
	}
	return byName, nil
}

// check says why c cannot be made to t.
func (c Change) check(t gguf.Tensor) error {
	if c.Out <= 0 || c.In <= 0 || len(t.Shape) == 0 || t.Shape[0] != uint64(c.In) || elements(t) != uint64(c.Out)*uint64(c.In) {
		return fmt.Errorf("a change of %d rows of %d numbers does not fit the shape %v: is it for another model?", c.Out, c.In, t.Shape)
	}
	if c.Dense != nil {
		if len(c.Dense) != c.Out*c.In {
			return fmt.Errorf("%d numbers are given for %d rows of %d", len(c.Dense), c.Out, c.In)
		}
		return finite("the matrix", c.Dense)
	}
	if c.Scales != nil {
		return errors.Join(finite("the scales", c.Scales), finite("the minima", c.Minima))
	}
	if c.Rank < 1 {
		return fmt.Errorf("rank %d is not at least 1", c.Rank)
	}
	if len(c.A) != c.Rank*c.In || len(c.B) != c.Out*c.Rank {
		return fmt.Errorf("rank %d: A and B have %d and %d numbers, want %d and %d", c.Rank, len(c.A), len(c.B), c.Rank*c.In, c.Out*c.Rank)
	}
	return errors.Join(finite("the scale", []float32{c.Scale}), finite("A", c.A), finite("B", c.B))
}

// finite refuses what training that diverged leaves behind.
func finite(what string, w []float32) error {
	for i, x := range w {
		if x-x != 0 {
			return fmt.Errorf("number %d of %s is %v: the training has diverged, repeat it with a smaller learning rate", i, what, x)
		}
	}
	return nil
}
