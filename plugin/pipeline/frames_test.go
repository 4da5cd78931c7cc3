package pipeline

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"pare/plugin"
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
		if err := fs.add(d); err != nil {
			t.Fatal(err)
		}
		fs.close()
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
	for _, f := range fs.all {
		out = append(out, f.Texts...)
	}
	return out
}

// TestFramesTorn cuts the file short at every byte. The frames before are found,
// and the next one is added behind them.
func TestFramesTorn(t *testing.T) {
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
		if len(fs.all) != whole {
			t.Fatalf("%d bytes hold %d whole frames, found %d", n, whole, len(fs.all))
		}
		if err := fs.add(measured("c", 3)); err != nil {
			t.Fatal(err)
		}
		fs.close()
		want := bytes.Clone(third)
		if whole > 0 {
			want = append(bytes.Clone(data[:ends[whole-1]]), third[len(framesMagic):]...)
		}
		if got, err := os.ReadFile(filepath.Join(folder, "trace.bin")); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, and a frame added, make %d bytes, want %d (%v)", n, len(got), len(want), err)
		}
	}
}

// TestFramesDamaged flips every byte in turn. No frame at or behind the damage is
// believed, and another format is not overwritten.
func TestFramesDamaged(t *testing.T) {
	data, ends := written(t, measured("a", 1), measured("b", 2))
	folder := t.TempDir()
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 0xff
		fs, err := reopened(t, folder, damaged)
		if i < len(framesMagic) {
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
		want := 0
		if i >= ends[0] {
			want = 1
		}
		if len(fs.all) != want {
			t.Fatalf("byte %d changed: texts %q, want %d", i, fs.texts(), want)
		}
		fs.close()
	}
}

// TestCovering chooses frames so that each text counts once.
func TestCovering(t *testing.T) {
	both := measured("a", 3)
	both.Texts = []string{"a", "b"}
	fs := &frames{}
	for _, d := range []plugin.TraceDelta{measured("a", 1), both, measured("a", 2), measured("c", 4), {}} {
		fs.all = append(fs.all, frame{TraceDelta: d})
	}
	for wanted, c := range map[string]struct{ found, missing int }{"a": {1, 0}, "b": {0, 1}, "ab": {1, 1}, "ac": {2, 0}, "": {0, 0}} {
		var names []string
		for _, r := range wanted {
			names = append(names, string(r))
		}
		if found, missing := fs.covering(names); len(found) != c.found || len(missing) != c.missing {
			t.Errorf("%q: %d frames and %v missing, want %d and %d", wanted, len(found), missing, c.found, c.missing)
		}
	}
}
