package convert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"pare/convert/quant"
	"pare/gguf"
)

// Opaque lists the tensors of f whose numbers are entries of code books that ggml
// alone holds: Pare can neither compute with them nor change them.
func Opaque(f *gguf.File) (out []gguf.Tensor) {
	for _, t := range f.Tensors {
		// What a block says does not matter, only whether its type can be read.
		_, err := quant.Floats(t.Type, make([]byte, t.Type.TypeSize()))
		if errors.Is(err, quant.ErrCodebook) {
			out = append(out, t)
		}
	}
	return out
}

// WidenResult tells what Widen wrote.
type WidenResult struct {
	Changed     []string `json:"changed"`      // tensors
	BytesBefore int64    `json:"bytes_before"` // of the whole file
	BytesAfter  int64    `json:"bytes_after"`
	Digest      string   `json:"digest"` // of the new file: "sha256:" and 64 hex digits
}

// Widen writes src to the file dst with those of its Opaque tensors that wanted names in
// Q4_K, or in a type like it whose blocks divide their rows. floats computes the numbers
// of whole rows, as ggml does. One tensor at a time is in memory. If Widen fails, dst is
// as it was before, and src is never changed. progress, unless it is nil, is told the
// bytes written and their total.
func Widen(ctx context.Context, src *gguf.File, dst string, wanted func(name string) bool,
	floats func(t gguf.TensorType, rows []byte) ([]float32, error), progress func(done, total int64)) (WidenResult, error) {
	layout := src.Layout()
	opaque := map[string]bool{}
	for _, t := range Opaque(src) {
		opaque[t.Name] = wanted(t.Name)
	}
	var result WidenResult
	for i, t := range layout.Tensors {
		if !opaque[t.Name] {
			continue
		}
		old := t.Tensor
		t.Type = fitting(gguf.Q4_K, t.Shape[0])
		size, err := t.Type.Bytes(t.Shape)
		if err != nil {
			return result, fmt.Errorf("widen model: tensor %q: %w", t.Name, err)
		}
		to := t.Type
		t.Size = size
		t.From = func() (io.Reader, error) { return widened(ctx, src, old, to, floats) }
		layout.Tensors[i] = t
		result.Changed = append(result.Changed, t.Name)
	}
	written, err := gguf.Write(ctx, dst, layout, progress)
	if err != nil {
		return WidenResult{}, fmt.Errorf("widen model: %w", err)
	}
	result.BytesBefore, result.BytesAfter, result.Digest = src.Size, written.Size, written.Digest()
	return result, nil
}

// rowsBytes is about how much of a tensor ggml is given at a time.
const rowsBytes = 256 << 10

// someRows is the length in bytes of whole rows of t, rowsBytes or less unless one row
// is longer.
func someRows(t gguf.Tensor) (uint64, error) {
	row, err := t.Type.Bytes(t.Shape[:1])
	if err != nil || row == 0 {
		return 0, fmt.Errorf("tensor %q: rows of %d bytes: %w", t.Name, row, err)
	}
	return max(1, rowsBytes/row) * row, nil
}

// floatsByRows is what floats makes of all of t's data.
func floatsByRows(t gguf.Tensor, data []byte, floats func(gguf.TensorType, []byte) ([]float32, error)) ([]float32, error) {
	n, err := someRows(t)
	if err != nil {
		return nil, err
	}
	w := make([]float32, 0, elements(t))
	for rows := range slices.Chunk(data, int(n)) {
		part, err := floats(t.Type, rows)
		if err != nil {
			return nil, err
		}
		w = append(w, part...)
	}
	return w, nil
}

// widened is a tensor's data in another type.
func widened(ctx context.Context, src *gguf.File, t gguf.Tensor, to gguf.TensorType, floats func(gguf.TensorType, []byte) ([]float32, error)) (io.Reader, error) {
	n, err := someRows(t)
	if err != nil {
		return nil, err
	}
	part := make([]byte, n)
	data := src.Data(t)
	var out []byte
	for left := t.Size; left > 0; left -= uint64(len(part)) {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		part = part[:min(uint64(len(part)), left)]
		if _, err := io.ReadFull(data, part); err != nil {
			return nil, fmt.Errorf("read %s: %w", t.Name, err)
		}
		w, err := floats(t.Type, part)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		stored, err := quant.Quantize(to, w, int(t.Shape[0]))
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		out = append(out, stored...)
	}
	return bytes.NewReader(out), nil
}
