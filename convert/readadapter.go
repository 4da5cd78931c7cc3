package convert

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"pare/convert/quant"
	"pare/gguf"
)

// ErrOtherBase is the answer to an adapter that was made for another model.
var ErrOtherBase = errors.New("the adapter was made for another model")

// An AdapterError says why an adapter cannot be merged. It is none where the file could
// not be read.
type AdapterError struct{ Err error }

func (e *AdapterError) Error() string { return e.Err.Error() }
func (e *AdapterError) Unwrap() error { return e.Err }

// ReadAdapter returns the changes that a LoRA adapter makes to base; leftOut names what
// llama.cpp leaves out when it applies one, which is changes of norms, and so does this.
// Changes of the embedding and of experts are an *AdapterError, as is all else that
// cannot be merged; it wraps ErrOtherBase if the adapter was made for another model. All
// changes are in memory, in F32.
func ReadAdapter(adapter, base *gguf.File) (changes []Change, leftOut []string, err error) {
	changes, leftOut, err = readAdapter(adapter, base)
	if err != nil {
		return nil, nil, fmt.Errorf("read adapter: %w", err)
	}
	return changes, leftOut, nil
}

func readAdapter(adapter, base *gguf.File) ([]Change, []string, error) {
	if err := cmp.Or(mergeable(adapter), sameBase(adapter, base)); err != nil {
		return nil, nil, &AdapterError{err}
	}
	changes, leftOut, err := listChanges(adapter, base)
	if err != nil {
		return nil, nil, &AdapterError{err}
	}
	for i := range changes {
		if err := changes[i].read(adapter); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", changes[i].Name, err)
		}
	}
	if _, err := checkChanges(base, changes); err != nil {
		return nil, nil, &AdapterError{err}
	}
	return changes, leftOut, nil
}

// mergeable refuses what is no LoRA adapter, or one that is not always at work.
func mergeable(adapter *gguf.File) error {
	if kind, _ := text(adapter, "general.type"); kind != "adapter" {
		return fmt.Errorf("this is a file of type %q, not an adapter", kind)
	}
	if kind, _ := text(adapter, "adapter.type"); kind != "lora" {
		return fmt.Errorf("adapters of type %q are not known, only lora", kind)
	}
	if _, ok := adapter.KV("adapter.alora.invocation_tokens"); ok {
		return errors.New("this adapter works on what follows certain tokens alone (aLoRA), which weights cannot")
	}
	return nil
}

// sameBase compares what the adapter says of its model with base.
func sameBase(adapter, base *gguf.File) error {
	of, _ := text(adapter, "general.architecture")
	arch, _ := text(base, "general.architecture")
	if of != arch {
		return fmt.Errorf("it is for architecture %q, and the model is %q: %w", of, arch, ErrOtherBase)
	}
	if _, ours := adapter.KV(arch + ".block_count"); !ours {
		return nil // other programs do not tell more
	}
	for _, key := range baseKeys(arch) {
		want, wanted := adapter.KV(key)
		got, there := base.KV(key)
		if wanted != there || !got.Equal(want) {
			return fmt.Errorf("%s is not what it was in its model: %w", key, ErrOtherBase)
		}
	}
	return nil
}

// listChanges are the changes without their numbers. As in llama.cpp an alpha of 0 means
// that nothing is scaled.
func listChanges(adapter, base *gguf.File) (changes []Change, leftOut []string, err error) {
	v, _ := adapter.KV("adapter.lora.alpha")
	alpha, _ := v.Float()
	halves := 0
	for _, t := range adapter.Tensors {
		name, isA := strings.CutSuffix(t.Name, ".lora_a")
		switch {
		case isA:
			c, err := describeChange(adapter, base, name, alpha)
			if err != nil {
				return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
			}
			changes = append(changes, c)
		case strings.HasSuffix(t.Name, ".lora_b"):
			halves++
		case strings.HasSuffix(t.Name, "_norm.weight"):
			leftOut = append(leftOut, t.Name)
		default:
			return nil, nil, fmt.Errorf("tensor %q is no part of a product", t.Name)
		}
	}
	if halves != len(changes) {
		return nil, nil, fmt.Errorf("there are %d lora_a and %d lora_b: they are not pairs", len(changes), halves)
	}
	if len(changes) == 0 {
		return nil, nil, errors.New("it changes no matrix")
	}
	return changes, leftOut, nil
}

// describeChange holds the product for one tensor against base.
func describeChange(f, base *gguf.File, name string, alpha float64) (Change, error) {
	t, known := base.Tensor(name)
	a, aOK := f.Tensor(name + ".lora_a")
	b, bOK := f.Tensor(name + ".lora_b")
	switch {
	case !known:
		return Change{}, fmt.Errorf("the model has none of that name: %w", ErrOtherBase)
	case name == embedding:
		return Change{}, errors.New("changes of the embedding cannot be merged")
	case len(t.Shape) > 2:
		return Change{}, errors.New("changes of experts cannot be merged, only those of plain matrices")
	case len(t.Shape) < 2 || !aOK || !bOK || len(a.Shape) != 2 || len(b.Shape) != 2 || a.Shape[1] != b.Shape[0] || a.Shape[1] == 0:
		return Change{}, errors.New("there are no lora_a and lora_b of the same rank for a matrix")
	case a.Shape[0] != t.Shape[0] || b.Shape[1] != t.Shape[1]:
		return Change{}, fmt.Errorf("it changes %d rows of %d numbers, and the model has %d of %d: %w", b.Shape[1], a.Shape[0], t.Shape[1], t.Shape[0], ErrOtherBase)
	}
	for _, half := range []gguf.Tensor{a, b} {
		if _, err := quant.Floats(half.Type, nil); err != nil {
			return Change{}, err
		}
	}
	c := Change{Name: name, Out: int(b.Shape[1]), In: int(a.Shape[0]), Rank: int(a.Shape[1]), Scale: 1}
	if alpha != 0 {
		c.Scale = float32(alpha) / float32(c.Rank)
	}
	return c, nil
}

// read reads the two factors.
func (c *Change) read(f *gguf.File) (err error) {
	a, _ := f.Tensor(c.Name + ".lora_a")
	b, _ := f.Tensor(c.Name + ".lora_b")
	if c.A, err = readNumbers(f, a); err != nil {
		return err
	}
	c.B, err = readNumbers(f, b)
	return err
}

// readNumbers reads a whole tensor.
func readNumbers(f *gguf.File, t gguf.Tensor) ([]float32, error) {
	data := make([]byte, t.Size)
	if _, err := io.ReadFull(f.Data(t), data); err != nil {
		return nil, err
	}
	return quant.Floats(t.Type, data)
}
