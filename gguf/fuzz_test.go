package gguf_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"pare/gguf"
)

// FuzzRead demands that whatever is read is written as the same bytes, and that
// what is left of it when a tensor goes can be written and read, too.
func FuzzRead(f *testing.F) {
	f.Add(sample().Bytes())
	for _, c := range damaged {
		if data := c.file.Bytes(); len(data) < 4096 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, kv := range file.KVs {
			walk(t, kv.Value)
		}
		path := filepath.Join(t.TempDir(), "out.gguf")
		if _, err := gguf.Write(context.Background(), path, file.Layout(), nil); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
			t.Fatalf("read  %x\nwrote %x", data, got)
		}
		if len(file.Tensors) == 0 || file.Alignment > 4096 {
			return
		}
		l := file.Layout()
		l.Tensors = l.Tensors[1:]
		if _, err := gguf.Write(context.Background(), path, l, nil); err != nil {
			t.Fatal(err)
		}
		less, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		less.Close()
	})
}

// walk looks at every element of v and puts them together again.
func walk(t *testing.T, v gguf.Value) {
	v.Uint()
	v.Int()
	v.Float()
	v.Bool()
	v.Str()
	if v.Len() < 0 {
		return
	}
	var elements []gguf.Value
	var all []int
	for i := range v.Len() {
		walk(t, v.At(i))
		elements, all = append(elements, v.At(i)), append(all, i)
	}
	if made, err := gguf.Array(v.Elem(), elements...); err != nil || !made.Equal(v) {
		t.Fatalf("an array put together from its elements differs: %v", err)
	}
	if same, err := v.Select(all); err != nil || !same.Equal(v) {
		t.Fatalf("a selection of all elements differs: %v", err)
	}
}
