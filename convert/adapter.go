package convert

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"pare/convert/quant"
	"pare/gguf"
)

// ErrOtherBase is the answer to an adapter that was made for another model.
var ErrOtherBase = errors.New("the adapter was made for another model")

// AdapterResult tells what WriteAdapter wrote.
type AdapterResult struct {
	Tensors    int    `json:"tensors"` // of the model, that the adapter changes
	Parameters uint64 `json:"parameters"`
	Bytes      int64  `json:"bytes"` // of the whole file
	Digest     string `json:"digest"`
}

// WriteAdapter writes changes to src as a LoRA adapter that llama.cpp and Ollama
// load beside it. For each tensor NAME it holds, in F32,
//
//	NAME.lora_a  Rank×In
//	NAME.lora_b  Out×Rank
//
// The engines add alpha/Rank·B·A, with one alpha for the file, adapter.lora.alpha:
// where Scale·Rank is not the same for all changes the rest of it goes into B.
// The file also says how many layers src has and, if Pare made it, from what and how,
// so that ReadAdapter can tell it from its relatives.
//
// A change with Dense, and one of the embedding, is no such product: an error.
// If WriteAdapter fails, dst is as it was before.
func WriteAdapter(ctx context.Context, src *gguf.File, dst string, changes []Change) (AdapterResult, error) {
	layout, err := adapterLayout(src, changes)
	if err != nil {
		return AdapterResult{}, fmt.Errorf("write adapter: %w", err)
	}
	written, err := gguf.Write(ctx, dst, layout, nil)
	if err != nil {
		return AdapterResult{}, fmt.Errorf("write adapter: %w", err)
	}
	r := AdapterResult{Tensors: len(changes), Bytes: written.Size, Digest: written.Digest()}
	for _, t := range layout.Tensors {
		r.Parameters += elements(t.Tensor)
	}
	return r, nil
}

func adapterLayout(src *gguf.File, changes []Change) (gguf.Layout, error) {
	arch, ok := text(src, "general.architecture")
	if !ok {
		return gguf.Layout{}, fmt.Errorf("the model has no general.architecture: %w", ErrUnfit)
	}
	if len(changes) == 0 {
		return gguf.Layout{}, errors.New("there are no changes")
	}
	if _, err := checkChanges(src, changes); err != nil {
		return gguf.Layout{}, err
	}
	for _, c := range changes {
		if c.Dense != nil || c.Scales != nil || c.Name == embedding {
			return gguf.Layout{}, fmt.Errorf("tensor %q: its change is not a product that adapters can hold: merge it", c.Name)
		}
	}
	alpha := commonAlpha(changes)
	l := gguf.Layout{KVs: []gguf.KV{
		{Key: "general.architecture", Value: gguf.String(arch)},
		{Key: "general.type", Value: gguf.String("adapter")},
		{Key: "adapter.type", Value: gguf.String("lora")},
		{Key: "adapter.lora.alpha", Value: gguf.Float32(alpha)},
	}}
	for _, key := range baseKeys(arch) {
		if v, ok := src.KV(key); ok {
			l.KVs = append(l.KVs, gguf.KV{Key: key, Value: v})
		}
	}
	for _, c := range changes {
		l.Tensors = append(l.Tensors,
			adapterTensor(c.Name+".lora_a", c.In, c.Rank, c.A, 1),
			adapterTensor(c.Name+".lora_b", c.Rank, c.Out, c.B, c.Scale*float32(c.Rank)/alpha))
	}
	return l, nil
}

// commonAlpha is an alpha for all changes: that of the first one that does anything.
func commonAlpha(changes []Change) float32 {
	for _, c := range changes {
		if alpha := c.Scale * float32(c.Rank); alpha != 0 {
			return alpha
		}
	}
	return 1
}

// baseKeys are what tells a model from those that have tensors of the same names
// and shapes: the original from its cuts, and these from each other.
func baseKeys(arch string) []string {
	return []string{arch + ".block_count", "pare.parent.digest", "pare.removed_layers", "pare.repair"}
}

// adapterTensor is a matrix of rows rows, in F32, each number times scale.
func adapterTensor(name string, cols, rows int, w []float32, scale float32) gguf.Source {
	return gguf.Source{
		Tensor: gguf.Tensor{Name: name, Shape: []uint64{uint64(cols), uint64(rows)}, Type: gguf.F32, Size: uint64(4 * len(w))},
		From: func() (io.Reader, error) {
			b := make([]byte, 0, 4*len(w))
			for _, x := range w {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(scale*x))
			}
			return bytes.NewReader(b), nil
		},
	}
}

// ReadAdapter returns the changes that a LoRA adapter makes to base. The error wraps
// ErrOtherBase if it was made for another model.
func ReadAdapter(adapter, base *gguf.File) ([]Change, error) {
	changes, err := readAdapter(adapter, base)
	if err != nil {
		return nil, fmt.Errorf("read adapter: %w", err)
	}
	return changes, nil
}

func readAdapter(adapter, base *gguf.File) ([]Change, error) {
	if kind, _ := text(adapter, "general.type"); kind != "adapter" {
		return nil, fmt.Errorf("this is a file of type %q, not an adapter", kind)
	}
	if kind, _ := text(adapter, "adapter.type"); kind != "lora" {
		return nil, fmt.Errorf("adapters of type %q are not known, only lora", kind)
	}
	if err := sameBase(adapter, base); err != nil {
		return nil, err
	}
	v, _ := adapter.KV("adapter.lora.alpha")
	alpha, _ := v.Float()
	var changes []Change
	for _, a := range adapter.Tensors {
		name, ok := strings.CutSuffix(a.Name, ".lora_a")
		if !ok {
			if !strings.HasSuffix(a.Name, ".lora_b") {
				return nil, fmt.Errorf("tensor %q is no part of a product", a.Name)
			}
			continue
		}
		c, err := readChange(adapter, name, alpha)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		changes = append(changes, c)
	}
	if 2*len(changes) != len(adapter.Tensors) {
		return nil, fmt.Errorf("%d tensors are not pairs of lora_a and lora_b", len(adapter.Tensors))
	}
	if _, err := checkChanges(base, changes); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOtherBase, err)
	}
	return changes, nil
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

// readChange reads the product for one tensor. As in llama.cpp an alpha of 0 means
// that nothing is scaled.
func readChange(f *gguf.File, name string, alpha float64) (Change, error) {
	a, aOK := f.Tensor(name + ".lora_a")
	b, bOK := f.Tensor(name + ".lora_b")
	if !aOK || !bOK || len(a.Shape) != 2 || len(b.Shape) != 2 || a.Shape[1] != b.Shape[0] || a.Shape[1] == 0 {
		return Change{}, errors.New("lora_a and lora_b are not both there with the same rank")
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
