package convert

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"pare/convert/quant"
	"pare/gguf"
)

// ErrOtherBase is the answer to an adapter that was made for another model.
var ErrOtherBase = errors.New("the adapter was made for another model")

// ReadAdapter returns the changes that a LoRA adapter makes to base, as llama.cpp
// would apply it: leftOut names what that leaves out, which is changes to norms. The
// error wraps ErrOtherBase if the adapter was made for another model. All of it is in
// memory, in F32.
func ReadAdapter(adapter, base *gguf.File) (changes []Change, leftOut []string, err error) {
	if err := mergeable(adapter); err != nil {
		return nil, nil, fmt.Errorf("read adapter: %w", err)
	}
	if err := sameBase(adapter, base); err != nil {
		return nil, nil, fmt.Errorf("read adapter: %w", err)
	}
	changes, leftOut, err = readChanges(adapter, base)
	if err != nil {
		return nil, nil, fmt.Errorf("read adapter: %w", err)
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

func readChanges(adapter, base *gguf.File) (changes []Change, leftOut []string, err error) {
	v, _ := adapter.KV("adapter.lora.alpha")
	alpha, _ := v.Float()
	halves := 0
	for _, t := range adapter.Tensors {
		name, isA := strings.CutSuffix(t.Name, ".lora_a")
		switch {
		case isA:
		case strings.HasSuffix(t.Name, ".lora_b"):
			halves++
			continue
		case strings.HasSuffix(t.Name, "_norm.weight"):
			leftOut = append(leftOut, t.Name)
			continue
		default:
			return nil, nil, fmt.Errorf("tensor %q is no part of a product", t.Name)
		}
		c, err := readChange(adapter, base, name, alpha)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		changes = append(changes, c)
	}
	if halves != len(changes) {
		return nil, nil, fmt.Errorf("there are %d lora_a and %d lora_b: they are not pairs", len(changes), halves)
	}
	if len(changes) == 0 {
		return nil, nil, errors.New("it changes no matrix")
	}
	_, err = checkChanges(base, changes)
	return changes, leftOut, err
}

// readChange reads the product for one tensor of base. As in llama.cpp an alpha of 0
// means that nothing is scaled.
func readChange(f, base *gguf.File, name string, alpha float64) (Change, error) {
	t, known := base.Tensor(name)
	a, aOK := f.Tensor(name + ".lora_a")
	b, bOK := f.Tensor(name + ".lora_b")
	switch {
	case !known:
		return Change{}, fmt.Errorf("the model has none of that name: %w", ErrOtherBase)
	case name == embedding:
		return Change{}, errors.New("changes of the embedding cannot be merged")
	case len(t.Shape) != 2:
		return Change{}, errors.New("changes of experts cannot be merged, only those of plain matrices")
	case !aOK || !bOK || len(a.Shape) != 2 || len(b.Shape) != 2 || a.Shape[1] != b.Shape[0] || a.Shape[1] == 0:
		return Change{}, errors.New("lora_a and lora_b are not both there with the same rank")
	case a.Shape[0] != t.Shape[0] || b.Shape[1] != t.Shape[1]:
		return Change{}, fmt.Errorf("it changes %d rows of %d numbers, and the model has %d of %d: %w", b.Shape[1], a.Shape[0], t.Shape[1], t.Shape[0], ErrOtherBase)
	}
	c := Change{Name: name, Out: int(b.Shape[1]), In: int(a.Shape[0]), Rank: int(a.Shape[1]), Scale: 1}
	if alpha != 0 {
		c.Scale = float32(alpha) / float32(c.Rank)
	}
	var err error
	if c.A, err = readNumbers(f, a); err != nil {
		return Change{}, err
	}
	c.B, err = readNumbers(f, b)
	return c, err
}

// readNumbers reads a whole tensor.
func readNumbers(f *gguf.File, t gguf.Tensor) ([]float32, error) {
	data := make([]byte, t.Size)
	if _, err := io.ReadFull(f.Data(t), data); err != nil {
		return nil, err
	}
	return quant.Floats(t.Type, data)
}
