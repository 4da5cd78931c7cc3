package gguf_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pare/gguf"
	"pare/gguf/gguftest"
)

// pattern is n bytes that differ from those of any other seed.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed ^ byte(i*7)
	}
	return b
}

// sample is a file with every type of value and a few tensors, the last of which
// has no padding behind it.
func sample() gguftest.Builder {
	return gguftest.Builder{
		KVs: kvs(uint8(1), int8(-1), uint16(2), int16(-2), uint32(3), int32(-3), float32(1.5), true, "text",
			[]string{"a", "", "c"}, uint64(4), int64(-4), 2.5, [][]uint16{{1}, {2, 3}}, []bool{true, false}),
		Tensors: []gguftest.Tensor{
			{Name: "one", Shape: []uint64{5}, Bytes: pattern(1, 20)},
			{Name: "two", Shape: []uint64{32, 2}, Type: 2, Bytes: pattern(2, 36)},
			{Name: "three", Shape: []uint64{1}, Bytes: pattern(3, 4)},
			{Name: "four", Shape: []uint64{8}, Bytes: pattern(4, 32)},
		},
	}
}

// open puts what b builds into a file and opens it.
func open(t testing.TB, b gguftest.Builder) *gguf.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.gguf")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// write writes l and returns the bytes, after checking what Write says of them.
func write(t testing.TB, l gguf.Layout) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.gguf")
	var done, total int64
	w, err := gguf.Write(context.Background(), path, l, func(d, n int64) { done, total = d, n })
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if w.Size != int64(len(data)) || w.SHA256 != sha256.Sum256(data) {
		t.Errorf("%d bytes of %s were reported, there are %d", w.Size, w.Digest(), len(data))
	}
	if done != w.Size || total != w.Size {
		t.Errorf("progress ended at %d of %d, the file has %d bytes", done, total, w.Size)
	}
	return data
}

func TestIdentity(t *testing.T) {
	for name, b := range map[string]gguftest.Builder{
		"nothing":   {},
		"sample":    sample(),
		"version 2": {Version: 2, Tensors: sample().Tensors},
		"alignment": {Alignment: 1024, KVs: sample().KVs, Tensors: sample().Tensors},
		"alignment 1": {
			Alignment: 1, Tensors: sample().Tensors,
		},
		"padding":  {KVs: sample().KVs, Tensors: sample().Tensors, Padding: 0xaa},
		"trailing": {Tensors: sample().Tensors, Trailing: []byte("left over")},
		"only keys, nothing after the header": {
			Alignment: 1, KVs: []gguftest.KV{{Key: "general.alignment", Value: uint32(4096)}},
		},
		"gaps and disorder": {
			Tensors: []gguftest.Tensor{
				{Name: "late", Shape: []uint64{2}, Offset: new(uint64(128))},
				{Name: "empty", Shape: []uint64{0}, Offset: new(uint64(64))},
				{Name: "early", Shape: []uint64{2}, Offset: new(uint64(32))},
			},
			Data: pattern(9, 150),
		},
		"large": {Tensors: []gguftest.Tensor{f32("a", 3<<20), f32("b", 1<<20+1)}, Padding: 3},
	} {
		t.Run(name, func(t *testing.T) {
			if got := write(t, open(t, b).Layout()); !bytes.Equal(got, b.Bytes()) {
				t.Errorf("%d bytes were read and %d other bytes written", len(b.Bytes()), len(got))
			}
			if got := write(t, read(t, b).Layout()); !bytes.Equal(got, b.Bytes()) {
				t.Error("read from memory, it is written otherwise")
			}
		})
	}
}

// contents tells what is in a file: keys, then tensors with their data.
func contents(t *testing.T, data []byte) (lines []string) {
	t.Helper()
	f, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range f.KVs {
		lines = append(lines, kv.Key)
	}
	for _, x := range f.Tensors {
		data, err := io.ReadAll(f.Data(x))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %v %v at %d: %x", x.Name, x.Type, x.Shape, x.Offset, sha256.Sum256(data)))
	}
	return lines
}

// What a changed layout gives is what the builder makes of the same contents.
func TestChanges(t *testing.T) {
	b := gguftest.Builder{KVs: sample().KVs, Tensors: sample().Tensors, Padding: 0, Trailing: []byte("dropped")}
	f := open(t, b)
	for name, c := range map[string]struct {
		change func(*gguf.Layout)
		want   func(*gguftest.Builder)
	}{
		"leave a tensor out": {
			func(l *gguf.Layout) { l.Tensors = slices.Delete(l.Tensors, 1, 2) },
			func(b *gguftest.Builder) { b.Tensors = slices.Delete(b.Tensors, 1, 2); b.Trailing = nil },
		},
		"leave the first out and rename": {
			func(l *gguf.Layout) { l.Tensors = l.Tensors[1:]; l.Tensors[0].Name = "another" },
			func(b *gguftest.Builder) { b.Tensors = b.Tensors[1:]; b.Tensors[0].Name = "another"; b.Trailing = nil },
		},
		"leave all out": {
			func(l *gguf.Layout) { l.Tensors = nil },
			func(b *gguftest.Builder) { b.Tensors = nil; b.Trailing = nil },
		},
		"turn the order": {
			func(l *gguf.Layout) { slices.Reverse(l.Tensors) },
			func(b *gguftest.Builder) { slices.Reverse(b.Tensors); b.Trailing = nil },
		},
		"rename": {
			func(l *gguf.Layout) { l.Tensors[2].Name = "another and longer name, so that all data moves" },
			func(b *gguftest.Builder) { b.Tensors[2].Name = "another and longer name, so that all data moves" },
		},
		"set a value": {
			func(l *gguf.Layout) { l.KVs[4].Value = gguf.Uint32(99) },
			func(b *gguftest.Builder) { b.KVs[4].Value = uint32(99) },
		},
		"add a key": {
			func(l *gguf.Layout) { l.KVs = append(l.KVs, gguf.KV{Key: "pare.version", Value: gguf.String("1")}) },
			func(b *gguftest.Builder) { b.KVs = append(b.KVs, gguftest.KV{Key: "pare.version", Value: "1"}) },
		},
		"set the alignment": {
			func(l *gguf.Layout) {
				l.Alignment = 0
				l.KVs = append(l.KVs, gguf.KV{Key: "general.alignment", Value: gguf.Uint32(256)})
			},
			func(b *gguftest.Builder) {
				b.Alignment, b.Trailing = 256, nil
				b.KVs = append(b.KVs, gguftest.KV{Key: "general.alignment", Value: uint32(256)})
			},
		},
		"other data": {
			func(l *gguf.Layout) {
				s := &l.Tensors[1]
				s.Type, s.Shape, s.Size = gguf.F16, []uint64{64}, 128
				s.From = func() (io.Reader, error) { return bytes.NewReader(pattern(8, 128)), nil }
			},
			func(b *gguftest.Builder) {
				b.Tensors[1] = gguftest.Tensor{Name: "two", Type: 1, Shape: []uint64{64}, Bytes: pattern(8, 128)}
				b.Trailing = nil
			},
		},
		"version": {
			func(l *gguf.Layout) { l.Version = 2 },
			func(b *gguftest.Builder) { b.Version = 2 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := f.Layout()
			c.change(&l)
			want := b
			want.KVs, want.Tensors = slices.Clone(b.KVs), slices.Clone(b.Tensors)
			c.want(&want)
			if got := write(t, l); !bytes.Equal(got, want.Bytes()) {
				t.Errorf("got\n%q\nwant\n%q", contents(t, got), contents(t, want.Bytes()))
			}
		})
	}
}

// The padding of one file must not carry another tensor's data into the next.
func TestPaddingBetweenSmallTensors(t *testing.T) {
	b := gguftest.Builder{Alignment: 8, Tensors: []gguftest.Tensor{
		{Name: "a", Shape: []uint64{2}, Bytes: pattern(1, 8)},
		{Name: "gone", Shape: []uint64{2}, Bytes: pattern(2, 8)},
		{Name: "b", Shape: []uint64{2}, Bytes: pattern(3, 8)},
	}}
	l := read(t, b).Layout()
	l.Tensors = slices.Delete(l.Tensors, 1, 2)
	l.Alignment, l.KVs[0].Value = 16, gguf.Uint32(16)
	want := gguftest.Builder{Alignment: 16, Tensors: []gguftest.Tensor{b.Tensors[0], b.Tensors[2]}}
	if got := write(t, l); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("got  %x\nwant %x", got, want.Bytes())
	}
}

// fresh is a layout of one new tensor whose data from supplies.
func fresh(from func() (io.Reader, error)) gguf.Layout {
	return gguf.Layout{Tensors: []gguf.Source{{
		Tensor: gguf.Tensor{Name: "t", Shape: []uint64{4}, Size: 16}, From: from,
	}}}
}

type closer struct {
	io.Reader
	closed *bool
}

func (c closer) Close() error { *c.closed = true; return nil }

func TestNewFile(t *testing.T) {
	var closed bool
	got := write(t, fresh(func() (io.Reader, error) { return closer{bytes.NewReader(pattern(1, 16)), &closed}, nil }))
	want := gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "t", Shape: []uint64{4}, Bytes: pattern(1, 16)}}}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("got %x", got)
	}
	if !closed {
		t.Error("the reader was not closed")
	}
}

// After a failure there is no output, no temporary file, and what was there
// before is as it was.
func TestFailuresLeaveNothing(t *testing.T) {
	boom := errors.New("boom")
	reader := func(n int) func() (io.Reader, error) {
		return func() (io.Reader, error) { return bytes.NewReader(make([]byte, n)), nil }
	}
	canceled, cancel := context.WithCancelCause(context.Background())
	cancel(boom)
	f := open(t, sample())
	change := func(change func(*gguf.Layout)) gguf.Layout {
		l := f.Layout()
		change(&l)
		return l
	}
	for name, c := range map[string]struct {
		ctx  context.Context
		l    gguf.Layout
		want error
	}{
		"canceled":        {canceled, f.Layout(), boom},
		"too little data": {nil, fresh(reader(15)), io.ErrUnexpectedEOF},
		"too much data":   {nil, fresh(reader(17)), nil},
		"reader fails":    {nil, fresh(func() (io.Reader, error) { return io.MultiReader(bytes.NewReader(make([]byte, 3)), failing{boom}), nil }), boom},
		"does not open":   {nil, fresh(func() (io.Reader, error) { return nil, boom }), boom},
		"no source":       {nil, fresh(nil), nil},
		"wrong size":      {nil, change(func(l *gguf.Layout) { l.Tensors[0].Size++ }), nil},
		"too large":       {nil, change(func(l *gguf.Layout) { l.Tensors[3].Shape, l.Tensors[3].Size = []uint64{9}, 36 }), nil},
		"same name":       {nil, change(func(l *gguf.Layout) { l.Tensors[0].Name = "two" }), nil},
		"no name":         {nil, change(func(l *gguf.Layout) { l.Tensors[0].Name = "" }), nil},
		"same key":        {nil, change(func(l *gguf.Layout) { l.KVs[0].Key = "b" }), nil},
		"no value":        {nil, change(func(l *gguf.Layout) { l.KVs[0].Value = gguf.Value{} }), nil},
		"bad alignment":   {nil, change(func(l *gguf.Layout) { l.KVs[0] = gguf.KV{Key: "general.alignment", Value: gguf.Uint32(48)} }), nil},
		"other alignment": {nil, change(func(l *gguf.Layout) { l.Alignment = 64 }), nil},
		"version 1":       {nil, change(func(l *gguf.Layout) { l.Version = 1 }), gguf.ErrVersion},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "out.gguf")
			for _, before := range []string{"", "was here"} {
				if before != "" {
					if err := os.WriteFile(path, []byte(before), 0o666); err != nil {
						t.Fatal(err)
					}
				}
				if c.ctx == nil {
					c.ctx = context.Background()
				}
				w, err := gguf.Write(c.ctx, path, c.l, nil)
				if err == nil || w != (gguf.Written{}) || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("got %v", err)
				}
				if got, _ := os.ReadFile(path); string(got) != before {
					t.Errorf("the output has %d bytes", len(got))
				}
				onlyFiles(t, folder, path)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// onlyFiles checks that a folder has nothing but these files, which may be missing.
func onlyFiles(t *testing.T, folder string, paths ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if path := filepath.Join(folder, e.Name()); !slices.Contains(paths, path) {
			t.Errorf("%s was left behind", path)
		}
	}
}

func TestCancelOnTheWay(t *testing.T) {
	f := open(t, gguftest.Builder{Tensors: []gguftest.Tensor{f32("a", 4<<20)}})
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	_, err := gguf.Write(ctx, filepath.Join(folder, "out.gguf"), f.Layout(), func(done, total int64) {
		if calls++; done < total/2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || calls == 0 {
		t.Errorf("after %d calls: %v", calls, err)
	}
	onlyFiles(t, folder)
}

func TestReplacesAnotherFileButNotItsSource(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "model.gguf")
	data := sample().Bytes()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	link := filepath.Join(folder, "link.gguf")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	whole, part := f.Layout(), gguf.Layout{Tensors: []gguf.Source{f.Source(f.Tensors[1])}}
	for _, target := range []string{path, link} {
		for _, l := range []gguf.Layout{whole, part} {
			if _, err := gguf.Write(context.Background(), target, l, nil); !errors.Is(err, gguf.ErrSameFile) {
				t.Errorf("%s: %v", target, err)
			}
		}
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Error("the source was changed")
	}
	other := filepath.Join(folder, "other.gguf")
	if err := os.WriteFile(other, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := gguf.Write(context.Background(), other, whole, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(other); !bytes.Equal(got, data) {
		t.Error("the old file was not replaced")
	}
	onlyFiles(t, folder, path, link, other)
}

// Two writers may take data from one open file at the same time.
func TestConcurrentWrites(t *testing.T) {
	b := gguftest.Builder{Tensors: []gguftest.Tensor{
		{Name: "a", Shape: []uint64{3 << 20}, Bytes: pattern(1, 12<<20)},
		{Name: "b", Shape: []uint64{1 << 20}, Bytes: pattern(2, 4<<20)},
	}}
	f, folder := open(t, b), t.TempDir()
	errs := make(chan error)
	for i := range 2 {
		go func() {
			w, err := gguf.Write(context.Background(), filepath.Join(folder, fmt.Sprint(i)), f.Layout(), nil)
			if err == nil && w.SHA256 != sha256.Sum256(b.Bytes()) {
				err = errors.New("the copies are mixed up")
			}
			errs <- err
		}()
	}
	if err := errors.Join(<-errs, <-errs); err != nil {
		t.Error(err)
	}
}
