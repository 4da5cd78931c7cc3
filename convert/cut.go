package convert

import (
	"context"
	"fmt"
	"slices"

	"pare/gguf"
)

// CutConfig says what to remove. Its zero value removes nothing.
type CutConfig struct {
	Remove     []int      // layers, counted from 0, in any order
	Provenance Provenance // for the file; not needed if nothing is removed
}

// Validate names the field at fault.
func (c CutConfig) Validate() error {
	if len(c.Remove) == 0 {
		return nil
	}
	return c.Provenance.validate()
}

// CutResult tells what Cut wrote.
type CutResult struct {
	Architecture     string `json:"architecture"`
	Removed          []int  `json:"removed"` // in the numbering of the original, ascending
	LayersBefore     int    `json:"layers_before"`
	LayersAfter      int    `json:"layers_after"`
	ParametersBefore uint64 `json:"parameters_before"`
	ParametersAfter  uint64 `json:"parameters_after"`
	BytesBefore      int64  `json:"bytes_before"` // of the whole file
	BytesAfter       int64  `json:"bytes_after"`
	Digest           string `json:"digest"` // of the new file: "sha256:" and 64 hex digits
}

// Cut writes src without the layers in cfg.Remove to the file dst. The layers
// that stay are numbered anew and keep their bytes; metadata that counts or lists
// layers is adjusted, and cfg.Provenance added. Removing nothing gives the same
// file, byte for byte.
//
// A cut that would make a remaining layer something else is refused with a
// *CutError. If Cut fails, dst is as it was before and src is never changed.
// progress, unless it is nil, is told the bytes written and their total.
func Cut(ctx context.Context, src *gguf.File, dst string, cfg CutConfig, progress func(done, total int64)) (CutResult, error) {
	if err := cfg.Validate(); err != nil {
		return CutResult{}, fmt.Errorf("cut model: %w", err)
	}
	m, err := Inspect(src)
	if err != nil {
		return CutResult{}, err
	}
	if err := m.CheckCut(cfg.Remove); err != nil {
		return CutResult{}, err
	}
	removed := sorted(cfg.Remove)
	layout := src.Layout()
	lost := uint64(0)
	if len(removed) > 0 {
		cfg.Provenance.Removed = removed
		if layout, lost, err = m.without(src, cfg.Provenance); err != nil {
			return CutResult{}, fmt.Errorf("cut model: %w", err)
		}
	}
	written, err := gguf.Write(ctx, dst, layout, progress)
	if err != nil {
		return CutResult{}, fmt.Errorf("cut model: %w", err)
	}
	return CutResult{
		Architecture: m.Architecture, Removed: removed,
		LayersBefore: m.Layers, LayersAfter: m.Layers - len(removed),
		ParametersBefore: m.Parameters, ParametersAfter: m.Parameters - lost,
		BytesBefore: src.Size, BytesAfter: written.Size,
		Digest: written.Digest(),
	}, nil
}

// without lays out the file that remains, and counts the parameters that do not.
func (m Model) without(src *gguf.File, p Provenance) (gguf.Layout, uint64, error) {
	rw := rewriter{m: m, md: metadata{f: src, arch: m.Architecture}, removed: p.Removed}
	for i := range m.Layers + m.Prediction {
		if _, gone := slices.BinarySearch(rw.removed, i); !gone {
			rw.keep = append(rw.keep, i)
		}
	}
	layout := src.Layout()
	all := layout.Tensors
	layout.Tensors = nil
	lost := uint64(0)
	for _, t := range all {
		block, rest, ok := blockTensor(t.Name)
		if ok {
			if _, gone := slices.BinarySearch(rw.removed, block); gone {
				lost += elements(t.Tensor)
				continue
			}
			t.Name = fmt.Sprintf("blk.%d.%s", rw.renumber(block), rest)
		}
		layout.Tensors = append(layout.Tensors, t)
	}
	earlier, err := History(src)
	if err != nil {
		return gguf.Layout{}, 0, err
	}
	if layout.KVs, err = rw.metadata(lost); err != nil {
		return gguf.Layout{}, 0, err
	}
	marks, err := provenanceKVs(p, earlier)
	if err != nil {
		return gguf.Layout{}, 0, err
	}
	layout.KVs = append(layout.KVs, marks...)
	return layout, lost, nil
}
