package heal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/google/renameio/v2"
	"github.com/x448/float16"

	"pare/repair"
)

// An examplesForm says what examples hold. All of a file have the same.
type examplesForm struct {
	Version int    `json:"version"`
	Digest  string `json:"digest"` // of all that they are made from
	Length  int    `json:"length"` // T
	Hidden  int    `json:"hidden"` // H
	State   bool   `json:"state"`
	Aim     bool   `json:"aim"`
	Top     int    `json:"top"` // K
}

const examplesVersion = 1

// examples are training examples on disk, in records of one size: what the uncut
// model computed for them is far more than memory should hold. A residual is kept as
// half-precision shares of its largest number, since some reach beyond the range.
// It implements repair.Source.
type examples struct {
	examplesForm
	file *os.File
	n    int
}

// openExamples opens the examples of a form, with as many as an earlier try made of
// the same. The form stands beside them as path with .json at its end.
func openExamples(path string, form examplesForm) (*examples, error) {
	form.Version = examplesVersion
	said, err := json.Marshal(form)
	if err != nil {
		return nil, fmt.Errorf("keep examples: %w", err)
	}
	if known, err := os.ReadFile(path + ".json"); err != nil || !bytes.Equal(known, said) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("keep examples: %w", err)
		}
		if err := renameio.WriteFile(path+".json", said, 0o600); err != nil {
			return nil, fmt.Errorf("keep examples: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep examples: %w", err)
	}
	e := &examples{examplesForm: form, file: f}
	if err := e.count(); err != nil {
		f.Close()
		return nil, err
	}
	return e, nil
}

// count finds how many records there are before the first that is not whole, and cuts off
// what follows: a crash may have left a hole before a whole one.
func (e *examples) count() error {
	info, err := e.file.Stat()
	if err != nil {
		return fmt.Errorf("keep examples: %w", err)
	}
	for e.n = 0; e.n < int(info.Size()/e.size()); e.n++ {
		if _, err := e.Read(e.n); err != nil {
			break
		}
	}
	if err := e.file.Truncate(int64(e.n) * e.size()); err != nil {
		return fmt.Errorf("keep examples: %w", err)
	}
	return nil
}

func (e *examples) Close() error { return e.file.Close() }

// Len implements repair.Source.
func (e *examples) Len() int { return e.n }

// size is that of a record in bytes.
func (e *examples) size() int64 {
	t := int64(e.Length)
	n := t * 5 * 4
	for _, has := range []bool{e.State, e.Aim} {
		if has {
			n += t*4 + t*int64(e.Hidden)*2
		}
	}
	return n + t*int64(e.Top)*8 + 4
}

// add appends an example; it is on disk after sync.
func (e *examples) add(x repair.Example) error {
	b := bytes.NewBuffer(make([]byte, 0, e.size()))
	for _, v := range []any{x.Tokens, x.Segment, x.Position, x.Target, x.Weight} {
		binary.Write(b, binary.LittleEndian, v)
	}
	if e.State {
		e.putHalves(b, x.State)
	}
	if e.Aim {
		e.putHalves(b, x.Aim)
	}
	binary.Write(b, binary.LittleEndian, x.TopTokens)
	binary.Write(b, binary.LittleEndian, x.TopLogProb)
	binary.Write(b, binary.LittleEndian, crc32.ChecksumIEEE(b.Bytes()))
	if int64(b.Len()) != e.size() {
		return fmt.Errorf("keep an example: it takes %d bytes, not %d", b.Len(), e.size())
	}
	if _, err := e.file.WriteAt(b.Bytes(), int64(e.n)*e.size()); err != nil {
		return fmt.Errorf("keep an example: %w", err)
	}
	e.n++
	return nil
}

func (e *examples) sync() error {
	if err := e.file.Sync(); err != nil {
		return fmt.Errorf("keep examples: %w", err)
	}
	return nil
}

// Read implements repair.Source.
func (e *examples) Read(i int) (repair.Example, error) {
	data := make([]byte, e.size())
	if _, err := e.file.ReadAt(data, int64(i)*e.size()); err != nil {
		return repair.Example{}, fmt.Errorf("read example %d: %w", i, err)
	}
	body := data[:len(data)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(data[len(body):]) {
		return repair.Example{}, fmt.Errorf("read example %d: it is damaged; ask for the job again to make it anew", i)
	}
	r := bytes.NewReader(body)
	t := e.Length
	x := repair.Example{
		Tokens: make([]int32, t), Segment: make([]int32, t), Position: make([]int32, t),
		Target: make([]int32, t), Weight: make([]float32, t),
	}
	for _, v := range []any{x.Tokens, x.Segment, x.Position, x.Target, x.Weight} {
		binary.Read(r, binary.LittleEndian, v)
	}
	if e.State {
		x.State = e.halves(r)
	}
	if e.Aim {
		x.Aim = e.halves(r)
	}
	if e.Top > 0 {
		x.TopTokens, x.TopLogProb = make([]int32, t*e.Top), make([]float32, t*e.Top)
		binary.Read(r, binary.LittleEndian, x.TopTokens)
		binary.Read(r, binary.LittleEndian, x.TopLogProb)
	}
	return x, nil
}

// putHalves writes the largest number of each row of H, then all as shares of it.
func (e *examples) putHalves(b *bytes.Buffer, values []float32) {
	scales := make([]float32, 0, e.Length)
	halves := make([]uint16, 0, len(values))
	for ; len(values) > 0; values = values[e.Hidden:] {
		largest := float32(0)
		for _, v := range values[:e.Hidden] {
			largest = max(largest, float32(math.Abs(float64(v))))
		}
		scales = append(scales, largest)
		for _, v := range values[:e.Hidden] {
			if largest > 0 {
				v /= largest
			}
			halves = append(halves, uint16(float16.Fromfloat32(v)))
		}
	}
	binary.Write(b, binary.LittleEndian, scales)
	binary.Write(b, binary.LittleEndian, halves)
}

func (e *examples) halves(r io.Reader) []float32 {
	scales, halves := make([]float32, e.Length), make([]uint16, e.Length*e.Hidden)
	binary.Read(r, binary.LittleEndian, scales)
	binary.Read(r, binary.LittleEndian, halves)
	values := make([]float32, len(halves))
	for i, v := range halves {
		values[i] = float16.Frombits(v).Float32() * scales[i/e.Hidden]
	}
	return values
}
