package gguf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"pare/gguf"
	"pare/gguf/gguftest"
)

// f32 is a tensor of n float32.
func f32(name string, n int) gguftest.Tensor {
	return gguftest.Tensor{Name: name, Shape: []uint64{uint64(n)}, Bytes: make([]byte, 4*n)}
}

func kvs(values ...any) (list []gguftest.KV) {
	for i, v := range values {
		list = append(list, gguftest.KV{Key: string(rune('a' + i)), Value: v})
	}
	return list
}

// array is the bytes of an array's head: it claims n elements.
func array(elem uint32, n uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, elem), n)
}

// nested is the bytes of an array depth levels deep, with nothing in it.
func nested(depth int) []byte {
	return append(bytes.Repeat(array(9, 1), depth-1), array(0, 0)...)
}

var damaged = map[string]struct {
	file   gguftest.Builder
	cut    int // bytes taken off the end
	err    error
	says   []string
	offset int64 // -1: not checked
}{
	"empty":           {cut: 32, err: gguf.ErrNotGGUF, says: []string{"magic number at byte 0"}},
	"other magic":     {file: gguftest.Builder{Magic: "GGML"}, err: gguf.ErrNotGGUF},
	"version 1":       {file: gguftest.Builder{Version: 1}, err: gguf.ErrVersion, says: []string{"version 1", "convert"}, offset: 4},
	"version 4":       {file: gguftest.Builder{Version: 4}, err: gguf.ErrVersion, says: []string{"version 4"}, offset: 4},
	"big-endian":      {file: gguftest.Builder{BigEndian: true}, err: gguf.ErrBigEndian, says: []string{"convert"}, offset: 4},
	"big-endian, too": {file: gguftest.Builder{BigEndian: true, Magic: "FUGG"}, err: gguf.ErrBigEndian, offset: 4},
	"no counts":       {cut: 20, err: gguf.ErrTruncated, says: []string{"number of tensors"}, offset: 8},
	"tensor count":    {file: gguftest.Builder{TensorCount: new(uint64(math.MaxUint64))}, err: gguf.ErrTruncated, says: []string{"number of tensors"}, offset: 8},
	"key count":       {file: gguftest.Builder{KVCount: new(uint64(1 << 40))}, err: gguf.ErrTruncated, says: []string{"number of keys"}, offset: 16},

	"key missing":       {file: gguftest.Builder{KVs: kvs("", "", ""), KVCount: new(uint64(4))}, says: []string{"key 4 of 4"}, offset: -1},
	"key empty":         {file: gguftest.Builder{KVs: []gguftest.KV{{Key: "", Value: "text"}}}, says: []string{"key 1 of 1", "0 bytes"}, offset: 24},
	"key too long":      {file: gguftest.Builder{KVs: []gguftest.KV{{Key: strings.Repeat("k", 1<<16), Value: ""}}}, says: []string{"65536"}, offset: 24},
	"key twice":         {file: gguftest.Builder{KVs: []gguftest.KV{{Key: "k", Value: uint8(1)}, {Key: "k", Value: uint8(1)}}}, says: []string{`"k"`, "twice"}, offset: 38},
	"value type":        {file: gguftest.Builder{KVs: kvs(gguftest.Raw{Type: 13, Bytes: make([]byte, 40)})}, says: []string{`"a"`, "type 13"}, offset: 33},
	"element type":      {file: gguftest.Builder{KVs: kvs(gguftest.Raw{Type: 9, Bytes: array(99, 1)})}, says: []string{`"a"`, "type 99"}, offset: 37},
	"string length":     {file: gguftest.Builder{KVs: kvs(gguftest.Raw{Type: 8, Bytes: array(0, math.MaxUint64)[4:]})}, err: gguf.ErrTruncated, says: []string{`"a"`}, offset: 45},
	"array of bytes":    {file: gguftest.Builder{KVs: kvs(gguftest.Raw{Type: 9, Bytes: array(0, 1<<50)})}, err: gguf.ErrTruncated, says: []string{`"a"`}, offset: 41},
	"array overflowing": {file: gguftest.Builder{KVs: kvs(gguftest.Raw{Type: 9, Bytes: array(10, 1<<61)})}, err: gguf.ErrTruncated, says: []string{`"a"`}, offset: 41},
	"array of strings":  {file: gguftest.Builder{KVs: kvs(gguftest.Raw{Type: 9, Bytes: array(8, 1<<40)})}, err: gguf.ErrTruncated, says: []string{`"a"`}, offset: 41},
	"array of arrays":   {file: gguftest.Builder{KVs: kvs(gguftest.Raw{Type: 9, Bytes: array(9, 1<<40)})}, err: gguf.ErrTruncated, says: []string{`"a"`}, offset: 41},
	"nesting":           {file: gguftest.Builder{KVs: kvs(gguftest.Raw{Type: 9, Bytes: nested(17)})}, says: []string{`"a"`, "nested"}, offset: -1},

	"alignment 0":      {file: gguftest.Builder{KVs: []gguftest.KV{{Key: "general.alignment", Value: uint32(0)}}}, says: []string{"general.alignment", "power of two"}, offset: 53},
	"alignment 24":     {file: gguftest.Builder{KVs: []gguftest.KV{{Key: "general.alignment", Value: uint32(24)}}}, says: []string{"power of two"}, offset: 53},
	"alignment uint64": {file: gguftest.Builder{KVs: []gguftest.KV{{Key: "general.alignment", Value: uint64(32)}}}, says: []string{"uint32"}, offset: 53},
	"alignment text":   {file: gguftest.Builder{KVs: []gguftest.KV{{Key: "general.alignment", Value: "32"}}}, says: []string{"uint32"}, offset: 53},
	"split":            {file: gguftest.Builder{KVs: []gguftest.KV{{Key: "split.count", Value: uint16(3)}}}, err: gguf.ErrSplit, says: []string{"3 parts", "llama-gguf-split"}, offset: 47},

	"tensor without name": {file: gguftest.Builder{Tensors: []gguftest.Tensor{f32("", 2)}}, says: []string{"tensor 1 of 1"}, offset: 24},
	"tensor twice":        {file: gguftest.Builder{Tensors: []gguftest.Tensor{f32("t", 1), f32("t", 1)}}, says: []string{`"t"`, "twice"}, offset: 57},
	"tensors cut":         {file: gguftest.Builder{Tensors: []gguftest.Tensor{f32("t", 8)}}, cut: 48, err: gguf.ErrTruncated, says: []string{`"t"`}, offset: 37},
	"dimensions":          {file: gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "t", Shape: []uint64{1, 1, 1, 1, 1}}}}, says: []string{`"t"`, "5 dimensions"}, offset: 33},
	"dimension count":     {file: gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "t", Dims: new(uint32(math.MaxUint32))}}}, says: []string{`"t"`, "dimensions"}, offset: 33},
	"shape overflow":      {file: gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "t", Shape: []uint64{1 << 32, 1 << 32}}}}, says: []string{`"t"`, "too many"}, offset: 33},
	"hidden overflow":     {file: gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "t", Shape: []uint64{0, 1 << 62, 4}}}}, says: []string{"too many"}, offset: 33},
	"bytes overflow":      {file: gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "t", Shape: []uint64{1 << 62}}}}, says: []string{"too many"}, offset: 33},
	"half blocks":         {file: gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "t", Shape: []uint64{16, 2}, Type: 2}}}, says: []string{`"t"`, "blocks of 32"}, offset: 33},
	"removed type":        {file: gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "t", Shape: []uint64{32}, Type: 31}}}, says: []string{"Q4_0_4_4", "removed"}, offset: 33},
	"unknown type":        {file: gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "t", Shape: []uint64{32}, Type: 40}}}, says: []string{"type 40"}, offset: 33},

	"data cut":         {file: gguftest.Builder{Tensors: []gguftest.Tensor{f32("s", 8), f32("t", 8)}}, cut: 1, err: gguf.ErrTruncated, says: []string{`"t"`}, offset: 96 + 32},
	"data missing":     {file: gguftest.Builder{Tensors: []gguftest.Tensor{f32("t", 8)}}, cut: 33, err: gguf.ErrTruncated, says: []string{`"t"`}, offset: -1},
	"offset outside":   {file: gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "t", Shape: []uint64{1}, Offset: new(uint64(math.MaxUint64 - 31))}}}, err: gguf.ErrTruncated, says: []string{`"t"`}, offset: -1},
	"offset unaligned": {file: gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "t", Shape: []uint64{1}, Offset: new(uint64(4)), Bytes: make([]byte, 8)}}}, says: []string{`"t"`, "alignment"}, offset: 64 + 4},
	"overlap":          {file: gguftest.Builder{Tensors: []gguftest.Tensor{f32("s", 16), {Name: "t", Shape: []uint64{1}, Offset: new(uint64(32))}}}, says: []string{`"t"`, `"s"`, "overlaps"}, offset: 96 + 32},
	"same place":       {file: gguftest.Builder{Tensors: []gguftest.Tensor{f32("s", 1), {Name: "t", Shape: []uint64{1}, Offset: new(uint64(0))}}}, says: []string{"overlaps"}, offset: 96},
}

func TestDamage(t *testing.T) {
	for name, c := range damaged {
		t.Run(name, func(t *testing.T) {
			data := c.file.Bytes()
			data = data[:len(data)-c.cut]
			_, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
			var format *gguf.FormatError
			if !errors.As(err, &format) {
				t.Fatalf("got %v, not a FormatError", err)
			}
			t.Log(err)
			if c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("it is not %q: %v", c.err, err)
			}
			if c.offset >= 0 && format.Offset != c.offset {
				t.Errorf("reported at byte %d, want %d: %v", format.Offset, c.offset, err)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q is not in %q", s, err)
				}
			}
		})
	}
}

// Whatever the place where a file ends, that is noticed.
func TestEveryTruncation(t *testing.T) {
	data := sample().Bytes()
	for n := range data {
		if _, err := gguf.Read(bytes.NewReader(data[:n]), int64(n)); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", n, len(data))
		}
	}
}

// A file that claims to be larger than it is, as when it shrinks while it is read.
func TestShrunkFile(t *testing.T) {
	data := sample().Bytes()
	if _, err := gguf.Read(bytes.NewReader(data[:50]), int64(len(data))); !errors.Is(err, gguf.ErrTruncated) {
		t.Errorf("got %v", err)
	}
}

// What a file claims must not take memory that its size does not justify.
func TestClaimsTakeNoMemory(t *testing.T) {
	for name, c := range damaged {
		data := c.file.Bytes()
		data = data[:len(data)-c.cut]
		if len(data) > 4096 {
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := gguf.Read(bytes.NewReader(data), int64(len(data))); err == nil {
			t.Errorf("%s was accepted", name)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%s: %d bytes of file took %d bytes of memory", name, len(data), n)
		}
	}
}
