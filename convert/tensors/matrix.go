// Package tensors carries matrices from a GGUF file into gomlx graphs, packed as
// they are in the file, and unpacks them there.
package tensors

import (
	"fmt"
	"io"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"pare/convert/quant"
	"pare/gguf"
)

// A Matrix is a tensor of a file in the form in which a graph takes it: as many
// parameters as Values has. Those of one number for each weight are [Rows, Cols] in
// the file's own type; packed ones are quant.Packed's Q, Scale and Min. A vector is a
// Matrix of one row.
type Matrix struct {
	Rows, Cols int
	Values     []*tensors.Tensor

	block, bits int // of packed ones

	shared int  // numbers that share a scale in the file; 0 if scales cannot be changed
	minima bool // have a factor of their own
}

// Factors is how many scales a row has that can be changed, and whether minima can be,
// apart from them.
func (m *Matrix) Factors() (perRow int, minima bool) {
	if m.shared == 0 {
		return 0, false
	}
	return m.Cols / m.shared, m.minima
}

// Read reads the tensor called name. With bits 4 or 8 a type of more bits than that
// is rounded to as many (Q4_1 or Q8_0), for less memory; with 0 it stays as it is.
// Types that ggml alone knows are an error that wraps quant.ErrCodebook.
func Read(f *gguf.File, name string, bits int) (*Matrix, error) {
	t, ok := f.Tensor(name)
	if !ok {
		return nil, fmt.Errorf("read tensor %s: there is none", name)
	}
	if n := len(t.Shape); n < 1 || n > 2 || t.Size == 0 {
		return nil, fmt.Errorf("read tensor %s: its shape %v is not that of a matrix or a vector", name, t.Shape)
	}
	data := make([]byte, t.Size)
	if _, err := io.ReadFull(f.Data(t), data); err != nil {
		return nil, fmt.Errorf("read tensor %s: %w", name, err)
	}
	m, err := newMatrix(t, data, bits)
	if err != nil {
		return nil, fmt.Errorf("read tensor %s: %w", name, err)
	}
	return m, nil
}

// New makes a matrix of numbers, for what is no tensor of a file.
func New(w []float32, rows, cols int) *Matrix {
	return &Matrix{Rows: rows, Cols: cols, Values: []*tensors.Tensor{tensors.FromFlatDataAndDimensions(w, rows, cols)}}
}

// Bytes is the memory that the matrix takes.
func (m *Matrix) Bytes() (n int64) {
	for _, v := range m.Values {
		n += v.ByteSize()
	}
	return n
}

// Close frees the memory.
func (m *Matrix) Close() error {
	for _, v := range m.Values {
		if err := v.FinalizeAll(); err != nil {
			return fmt.Errorf("free matrix: %w", err)
		}
	}
	return nil
}

func newMatrix(t gguf.Tensor, data []byte, bits int) (*Matrix, error) {
	m := &Matrix{Rows: 1, Cols: int(t.Shape[0])}
	if len(t.Shape) > 1 {
		m.Rows = int(t.Shape[1])
	} else {
		bits = 0
	}
	kind, data, err := narrow(t.Type, data, m.Cols, bits)
	if err != nil {
		return nil, err
	}
	if stored, ok := stored[kind]; ok {
		v, err := raw(data, stored, m.Rows, m.Cols)
		m.Values = []*tensors.Tensor{v}
		return m, err
	}
	if p, err := quant.Pack(kind, data, m.Cols); err == nil {
		if kind == t.Type {
			m.shared, m.minima = quant.Tunable(kind)
		}
		return m, m.pack(p)
	}
	w, err := quant.Floats(kind, data)
	if err != nil {
		return nil, err
	}
	m.Values = []*tensors.Tensor{tensors.FromFlatDataAndDimensions(w, m.Rows, m.Cols)}
	return m, nil
}

// stored lists the types that a graph reads as they are.
var stored = map[gguf.TensorType]dtypes.DType{
	gguf.F32: dtypes.Float32, gguf.F16: dtypes.Float16, gguf.BF16: dtypes.BFloat16,
}

// raw is a tensor of the bytes in data.
func raw(data []byte, kind dtypes.DType, dims ...int) (*tensors.Tensor, error) {
	v := tensors.FromShape(shapes.Make(kind, dims...))
	err := v.MutableBytes(func(b []byte) { copy(b, data) })
	return v, err
}

// narrow rounds numbers of a type that takes more than bits bits of memory each.
func narrow(kind gguf.TensorType, data []byte, cols, bits int) (gguf.TensorType, []byte, error) {
	to, held := gguf.Q8_0, 32
	if bits == 4 {
		to = gguf.Q4_1
	}
	if _, ok := stored[kind]; ok {
		held = 16
	} else if p, err := quant.Pack(kind, data[:kind.TypeSize()], int(kind.BlockSize())); err == nil {
		held = p.Bits
	}
	if bits == 0 || held <= bits || cols%int(to.BlockSize()) != 0 {
		return kind, data, nil
	}
	w, err := quant.Floats(kind, data)
	if err != nil {
		return kind, nil, err
	}
	data, err = quant.Quantize(to, w, cols)
	return to, data, err
}
