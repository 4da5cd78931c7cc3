package convert

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"pare/gguf"
)

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
	return []string{arch + ".block_count", "pare.parent.digest", "pare.removed_layers", "pare.repair", "pare.adapter"}
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
