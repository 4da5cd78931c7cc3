package journal

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

var words = Form[string]{Name: "words.bin", Magic: "PARETST1", What: "record of words", Valid: func(*string) error { return nil }}

// A file that cannot be read is not one that ends.
func TestUnreadable(t *testing.T) {
	folder := t.TempDir()
	j, err := words.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Add("one"); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(folder, words.Name))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("input/output error")
	for n := range len(data) {
		if _, _, err := words.load(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}
