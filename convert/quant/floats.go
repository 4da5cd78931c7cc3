package quant

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"pare/gguf"
)

// Floats returns the numbers of type t in data, as ggml computes them. The error
// wraps ErrCodebook for the types that only ggml knows.
func Floats(t gguf.TensorType, data []byte) ([]float32, error) {
	size := int(t.TypeSize())
	if size == 0 || len(data)%size != 0 {
		return nil, fmt.Errorf("read numbers of type %v: %d bytes are not whole blocks of it", t, len(data))
	}
	w := make([]float32, len(data)/size*int(t.BlockSize()))
	if read, ok := plain[t]; ok {
		for i := range w {
			w[i] = read(data[i*size:])
		}
		return w, nil
	}
	c, err := codecOf(t)
	if err != nil {
		return nil, fmt.Errorf("read numbers of type %v: %w", t, err)
	}
	g := c.grid()
	for i := range len(data) / size {
		c.open(data[i*size:][:size], g)
		c.values(w[i*c.block:][:c.block], g)
	}
	return w, nil
}

// values computes the numbers of a block.
func (c *codec) values(w []float32, g grid) {
	for i := range g.scale {
		code, out := g.code[i*c.group:][:c.group], w[i*c.group:][:c.group]
		if c.levels != nil {
			for j, q := range code {
				out[j] = g.scale[i] * c.levels[q]
			}
			continue
		}
		scale, least := g.scale[i], g.min[i]
		for j, q := range code {
			out[j] = scale*float32(q) + least
		}
	}
}

// plain reads a number of the types that store each by itself.
var plain = map[gguf.TensorType]func(b []byte) float32{
	gguf.F32:  func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) },
	gguf.F16:  readHalf,
	gguf.BF16: func(b []byte) float32 { return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16) },
	gguf.F64:  func(b []byte) float32 { return float32(math.Float64frombits(binary.LittleEndian.Uint64(b))) },
}

// bytesOf stores finite numbers in one of those types.
func bytesOf(t gguf.TensorType, w []float32) ([]byte, error) {
	le := binary.LittleEndian
	b := make([]byte, 0, len(w)*int(t.TypeSize()))
	for _, x := range w {
		switch t {
		case gguf.F32:
			b = le.AppendUint32(b, math.Float32bits(x))
		case gguf.F16:
			h := toHalf(x)
			if h&0x7fff == 0x7c00 {
				return nil, fmt.Errorf("%v is too large for half precision: choose BF16 or F32", x)
			}
			b = le.AppendUint16(b, h)
		case gguf.BF16:
			b = le.AppendUint16(b, toBrain(x))
		case gguf.F64:
			b = le.AppendUint64(b, math.Float64bits(float64(x)))
		default:
			return nil, errors.New("it is not a type of plain numbers")
		}
	}
	return b, nil
}
