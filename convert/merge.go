package convert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"pare/convert/quant"
	"pare/gguf"
)

// MergeConfig says how changes are stored. Its zero value stores each tensor in its
// own type.
type MergeConfig struct {
	Repair string // what was done, in words: the file keeps it under pare.repair

	// Adapter is the digest of the adapter that the changes are from: the file keeps it
	// under pare.adapter. They are no small ones, and are rounded like any numbers.
	Adapter string

	// Promote gives types for changed tensors that are not to keep their own.
	Promote map[string]gguf.TensorType

	// Moments, unless it is nil, returns the second moments of what the tensor
	// multiplies, or nil. With them much more of a small change survives.
	Moments func(name string) *quant.Moments

	// Floats computes the numbers of whole rows of a type whose code books ggml alone
	// holds, as for Widen. Where it is nil such tensors cannot be changed.
	Floats func(t gguf.TensorType, rows []byte) ([]float32, error)
}

// MergeResult tells what Merge wrote.
type MergeResult struct {
	Changed     []string `json:"changed"`            // tensors, in the order of the file
	Promoted    []string `json:"promoted,omitempty"` // those of them that have another type than before
	BytesBefore int64    `json:"bytes_before"`       // of the whole file
	BytesAfter  int64    `json:"bytes_after"`
	Digest      string   `json:"digest"` // of the new file: "sha256:" and 64 hex digits
}

// Merge writes src to the file dst with the changes made to its tensors; each is
// stored in its type as quant.Requantize does it. Everything else is copied byte for
// byte. One changed tensor at a time is in memory. Without changes and words for
// them the file is the same.
//
// A model whose embedding makes its logits, too, gets an output.weight of its own, in
// the embedding's type, if that is changed.
//
// A change that does not fit is an error that names its tensor. If Merge fails, dst
// is as it was before and src is never changed. progress, unless it is nil, is told
// the bytes written and their total.
func Merge(ctx context.Context, src *gguf.File, dst string, changes []Change, cfg MergeConfig, progress func(done, total int64)) (MergeResult, error) {
	layout, result, err := merged(ctx, src, changes, cfg)
	if err != nil {
		return MergeResult{}, fmt.Errorf("merge changes: %w", err)
	}
	written, err := gguf.Write(ctx, dst, layout, progress)
	if err != nil {
		return MergeResult{}, fmt.Errorf("merge changes: %w", err)
	}
	result.BytesBefore, result.BytesAfter, result.Digest = src.Size, written.Size, written.Digest()
	return result, nil
}

// merged lays out the file with the changes.
func merged(ctx context.Context, src *gguf.File, changes []Change, cfg MergeConfig) (gguf.Layout, MergeResult, error) {
	var result MergeResult
	byName, err := checkChanges(src, changes)
	if err != nil {
		return gguf.Layout{}, result, err
	}
	for name := range cfg.Promote {
		if _, ok := byName[name]; !ok {
			return gguf.Layout{}, result, fmt.Errorf("tensor %q is to have another type, and nothing changes it", name)
		}
	}
	layout := src.Layout()
	if _, ok := src.Tensor(ownHead); !ok && byName[ownHead].Dense != nil {
		shared, _ := src.Tensor(embedding)
		s := src.Source(shared)
		s.Name = ownHead
		layout.Tensors = append(layout.Tensors, s)
	}
	for i, s := range layout.Tensors {
		change, ok := byName[s.Name]
		if !ok {
			continue
		}
		m := merging{src: src, old: s.Tensor, change: change, cfg: cfg, to: s.Type}
		result.Changed = append(result.Changed, s.Name)
		if to, ok := cfg.Promote[s.Name]; ok && to != s.Type {
			m.to = to
			result.Promoted = append(result.Promoted, s.Name)
		}
		if layout.Tensors[i], err = m.source(ctx, s); err != nil {
			return gguf.Layout{}, result, fmt.Errorf("tensor %q: %w", s.Name, err)
		}
	}
	layout.KVs = alsoDone(layout.KVs, "pare.repair", cfg.Repair)
	layout.KVs = alsoDone(layout.KVs, "pare.adapter", cfg.Adapter)
	layout.KVs = retyped(layout, result.Promoted)
	return layout, result, nil
}

// alsoDone adds what was done to what was done before.
func alsoDone(kvs []gguf.KV, key, done string) []gguf.KV {
	if done == "" {
		return kvs
	}
	at := keyAt(kvs, key)
	if at < 0 {
		return append(kvs, gguf.KV{Key: key, Value: gguf.String(done)})
	}
	if before, ok := kvs[at].Value.Str(); ok && before != "" {
		done = before + "; " + done
	}
	kvs[at].Value = gguf.String(done)
	return kvs
}

// retyped has general.file_type name the type, if any, that most numbers were promoted to.
func retyped(l gguf.Layout, promoted []string) []gguf.KV {
	at := keyAt(l.KVs, "general.file_type")
	if at < 0 || len(promoted) == 0 {
		return l.KVs
	}
	all, to := uint64(0), map[gguf.TensorType]uint64{}
	for _, t := range l.Tensors {
		all += elements(t.Tensor)
		if slices.Contains(promoted, t.Name) {
			to[t.Type] += elements(t.Tensor)
		}
	}
	for _, mix := range mixtures {
		if mix.finer == nil && 2*to[mix.most] > all {
			l.KVs[at].Value = gguf.Uint32(mix.fileType)
		}
	}
	return l.KVs
}

// Wider gives each changed matrix of fewer bits than Q8_0 that type: what rounding a
// matrix that is changed altogether to few bits anew would cost is worth far more than
// its bytes.
func Wider(src *gguf.File, changes []Change) map[string]gguf.TensorType {
	out := map[string]gguf.TensorType{}
	for _, c := range changes {
		t, ok := src.Tensor(c.Name)
		if ok && len(t.Shape) > 1 && t.Shape[0]%32 == 0 && narrow(t) {
			out[c.Name] = gguf.Q8_0
		}
	}
	return out
}

// narrow reports whether a tensor is stored in fewer bits than Q8_0 takes.
func narrow(t gguf.Tensor) bool { return t.Size*8 < elements(t)*17/2 }

// merging is one tensor on its way.
type merging struct {
	src    *gguf.File
	old    gguf.Tensor
	change Change
	to     gguf.TensorType
	cfg    MergeConfig
}

// source is where the tensor comes from, in place of s.
func (m merging) source(ctx context.Context, s gguf.Source) (gguf.Source, error) {
	size, err := m.to.Bytes(s.Shape)
	s.Type, s.Size = m.to, size
	s.From = func() (io.Reader, error) { return m.data(ctx) }
	return s, err
}

// data is the tensor's new data.
func (m merging) data(ctx context.Context) (io.Reader, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	old := make([]byte, m.old.Size)
	if _, err := io.ReadFull(m.src.Data(m.old), old); err != nil {
		return nil, err
	}
	if c := m.change; c.Scales != nil {
		if m.to != m.old.Type {
			return nil, fmt.Errorf("scales of type %v are changed, and it is to be stored as %v", m.old.Type, m.to)
		}
		err := quant.Rescale(m.to, old, c.In, c.Scales, c.Minima)
		return bytes.NewReader(old), err
	}
	w, err := m.numbers(old)
	if err != nil {
		return nil, err
	}
	var b []byte
	if m.to != m.old.Type || m.cfg.Adapter != "" {
		b, err = quant.Quantize(m.to, w, m.change.In)
	} else {
		var h *quant.Moments
		if m.cfg.Moments != nil {
			h = m.cfg.Moments(m.old.Name)
		}
		b, err = quant.Requantize(m.to, old, w, m.change.In, h)
	}
	return bytes.NewReader(b), err
}

// numbers computes W + Scale·B·A.
func (m merging) numbers(old []byte) ([]float32, error) {
	c := m.change
	if c.Dense != nil {
		return c.Dense, nil
	}
	w, err := quant.Floats(m.old.Type, old)
	if errors.Is(err, quant.ErrCodebook) && m.cfg.Floats != nil {
		w, err = floatsByRows(m.old, old, m.cfg.Floats)
	}
	if err != nil {
		return nil, err
	}
	if len(w) != c.Out*c.In {
		return nil, fmt.Errorf("there are %d numbers in %d×%d", len(w), c.Out, c.In)
	}
	blas32.Gemm(blas.NoTrans, blas.NoTrans, c.Scale,
		blas32.General{Rows: c.Out, Cols: c.Rank, Stride: c.Rank, Data: c.B},
		blas32.General{Rows: c.Rank, Cols: c.In, Stride: c.In, Data: c.A},
		1, blas32.General{Rows: c.Out, Cols: c.In, Stride: c.In, Data: w})
	return w, nil
}
