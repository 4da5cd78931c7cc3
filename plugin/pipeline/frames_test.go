package pipeline

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pare/plugin"
	"pare/plugin/journal"
)

// measured is what a model with two layers might show of one text.
func measured(text string, tokens int64) plugin.TraceDelta {
	d := plugin.TraceDelta{Model: "sha256:1", Layers: 2, Hidden: 4, Expected: tokens + 1, Texts: []string{text}}
	for i, s := range []*plugin.Sums{&d.All, &d.Last, &d.First} {
		*s = plugin.NewSums(2)
		s.Tokens, s.OutTokens = tokens, int64(i)
	}
	return d
}

// written keeps deltas in a new folder and returns the bytes of its trace.bin and
// where in them each frame ends.
func written(t *testing.T, deltas ...plugin.TraceDelta) (data []byte, ends []int) {
	t.Helper()
	folder := t.TempDir()
	for _, d := range deltas {
		fs, err := openFrames(folder)
		if err != nil {
			t.Fatal(err)
		}
		if err := fs.Add(d); err != nil {
			t.Fatal(err)
		}
		fs.Close()
		if data, err = os.ReadFile(filepath.Join(folder, "trace.bin")); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, len(data))
	}
	return data, ends
}

// reopened puts data into a folder as trace.bin and opens it.
func reopened(t *testing.T, folder string, data []byte) (*frames, error) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, "trace.bin"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return openFrames(folder)
}

// texts are those that frames cover, in their order.
func (fs *frames) texts() (out []string) {
	for _, f := range fs.All {
		out = append(out, f.Value.Texts...)
	}
	return out
}

// TestFramesTorn cuts the file short at every byte. The frames before are found,
// and the next one is added behind them.
func TestFramesTorn(t *testing.T) {
	t.Parallel()
	data, ends := written(t, measured("a", 1), measured("b", 2))
	third, _ := written(t, measured("c", 3))
	folder := t.TempDir()
	for n := range len(data) + 1 {
		fs, err := reopened(t, folder, data[:n])
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		whole := 0
		for whole < len(ends) && ends[whole] <= n {
			whole++
		}
		if len(fs.All) != whole {
			t.Fatalf("%d bytes hold %d whole frames, found %d", n, whole, len(fs.All))
		}
		if err := fs.Add(measured("c", 3)); err != nil {
			t.Fatal(err)
		}
		fs.Close()
		want := bytes.Clone(third)
		if whole > 0 {
			want = append(bytes.Clone(data[:ends[whole-1]]), third[len(framesForm.Magic):]...)
		}
		if got, err := os.ReadFile(filepath.Join(folder, "trace.bin")); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, and a frame added, make %d bytes, want %d (%v)", n, len(got), len(want), err)
		}
	}
}

// TestFramesOfAnotherVersion begins a trace of another version of Pare anew, and
// reads it as none.
func TestFramesOfAnotherVersion(t *testing.T) {
	data, _ := written(t, measured("a", 1))
	folder := t.TempDir()
	data[len(framesForm.Magic)-1]--
	fs, err := reopened(t, folder, data)
	if err != nil || len(fs.All) > 0 {
		t.Fatalf("%d frames, %v", len(fs.All), err)
	}
	if err := fs.Add(measured("b", 2)); err != nil {
		t.Fatal(err)
	}
	fs.Close()
	want, _ := written(t, measured("b", 2))
	if got, err := os.ReadFile(filepath.Join(folder, "trace.bin")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d (%v)", len(got), len(want), err)
	}
}

// TestFramesDamaged flips every byte in turn. A damaged frame is passed over, and
// the rest is kept unless its length is lost; another format is not overwritten.
func TestFramesDamaged(t *testing.T) {
	t.Parallel()
	data, ends := written(t, measured("a", 1), measured("b", 2))
	folder := t.TempDir()
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 0xff
		fs, err := reopened(t, folder, damaged)
		if i < len(framesForm.Magic) {
			if err == nil {
				t.Fatalf("byte %d of the magic changed, and it was taken for a trace", i)
			}
			if got, _ := os.ReadFile(filepath.Join(folder, "trace.bin")); !bytes.Equal(got, damaged) {
				t.Fatalf("byte %d of the magic changed, and the file was overwritten", i)
			}
			continue
		}
		if err != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
		want, size := []string{"b"}, len(data) // the first is damaged, the second found behind it
		switch {
		case i >= ends[0]:
			want, size = []string{"a"}, ends[0]
		case i < len(framesForm.Magic)+4: // where the first ends is lost
			want, size = nil, len(framesForm.Magic)
		}
		if got, _ := os.ReadFile(filepath.Join(folder, "trace.bin")); !slices.Equal(fs.texts(), want) || len(got) != size {
			t.Fatalf("byte %d changed: texts %q in %d bytes, want %q in %d", i, fs.texts(), len(got), want, size)
		}
		fs.Close()
	}
}

// TestFramesOfZeros ends a file as some disks do after a crash. Its CRC is right.
func TestFramesOfZeros(t *testing.T) {
	data, _ := written(t, measured("a", 1))
	folder := t.TempDir()
	fs, err := reopened(t, folder, append(bytes.Clone(data), make([]byte, 64)...))
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	if got, _ := os.ReadFile(filepath.Join(folder, framesForm.Name)); !slices.Equal(fs.texts(), []string{"a"}) || !bytes.Equal(got, data) {
		t.Errorf("texts %q in %d bytes, want a in %d", fs.texts(), len(got), len(data))
	}
}

// TestReadWhileAdding reads at every moment of a frame being written, and before
// there is any.
func TestReadWhileAdding(t *testing.T) {
	data, ends := written(t, measured("a", 1), measured("b", 2))
	folder := filepath.Join(t.TempDir(), "model")
	if fs, err := readFrames(folder); err != nil || len(fs.All) > 0 {
		t.Fatalf("no trace: %v, %v", fs, err)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Fatal("reading made the folder")
	}
	adding, err := openFrames(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer adding.Close()
	file, err := os.OpenFile(filepath.Join(folder, framesForm.Name), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for i := len(framesForm.Magic); i < len(data); i++ {
		if _, err := file.Write(data[i : i+1]); err != nil {
			t.Fatal(err)
		}
		whole := 0
		for whole < len(ends) && ends[whole] <= i+1 {
			whole++
		}
		want := []string{"a", "b"}[:whole]
		fs, err := readFrames(folder)
		if err != nil || !slices.Equal(fs.texts(), want) {
			t.Fatalf("after %d bytes: %q, %v, want %q", i+1, fs.texts(), err, want)
		}
		if got, _ := os.ReadFile(file.Name()); !bytes.Equal(got, data[:i+1]) {
			t.Fatalf("after %d bytes: reading changed the file", i+1)
		}
	}
}

// TestCovering chooses frames so that each text counts once.
func TestCovering(t *testing.T) {
	both := measured("a", 3)
	both.Texts = []string{"a", "b"}
	fs := &frames{&journal.Journal[plugin.TraceDelta]{}}
	for _, d := range []plugin.TraceDelta{measured("a", 1), both, measured("a", 2), measured("c", 4), {}} {
		fs.All = append(fs.All, journal.Entry[plugin.TraceDelta]{Value: d})
	}
	for wanted, c := range map[string]struct{ found, missing int }{"a": {1, 0}, "b": {0, 1}, "ab": {1, 1}, "ac": {2, 0}, "": {0, 0}} {
		var names []string
		for _, r := range wanted {
			names = append(names, string(r))
		}
		if found, missing := fs.coveringAll([]plugin.CorpusInfo{{Texts: names}}); len(found) != c.found || len(missing) != c.missing {
			t.Errorf("%q: %d frames and %v missing, want %d and %d", wanted, len(found), missing, c.found, c.missing)
		}
	}
}
