package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A trial is a variant of a model that was run on a piece of text: the set of
// layers it was run without, or the digest of a cut file, or "" for the whole model.
type trial struct{ Passage, Variant string }

// scores is the file that keeps all trials of a model, nothing if there is none.
func (s *server) scores(model string) []byte {
	s.tb.Helper()
	b, err := os.ReadFile(filepath.Join(s.models(), "pare", "profiles", filepath.Base(s.blob(model)), "scores.bin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.tb.Fatal(err)
	}
	return b
}

// trials reads that file: behind 8 bytes that name the format stand entries, each of
// its length, a checksum of 4 bytes, and a gob.
func trials(tb testing.TB, file []byte) (all []trial) {
	tb.Helper()
	for file = file[min(8, len(file)):]; len(file) > 0; {
		n := 8 + int(binary.LittleEndian.Uint32(file))
		if len(file) < n {
			tb.Fatalf("the last entry of scores.bin has %d bytes of %d", len(file), n)
		}
		var some []trial
		if err := gob.NewDecoder(bytes.NewReader(file[8:n])).Decode(&some); err != nil {
			tb.Fatal(err)
		}
		all, file = append(all, some...), file[n:]
	}
	return all
}

// checkScoredOnce demands that what was scored before is still there, and that no
// variant was run twice on the same text. The whole model is: others are held
// against it.
func checkScoredOnce(tb testing.TB, before, after []byte) {
	tb.Helper()
	if !bytes.HasPrefix(after, before) {
		tb.Errorf("of the %d bytes of scores.bin some are lost", len(before))
	}
	seen := map[trial]bool{}
	for _, t := range trials(tb, after) {
		if t.Variant != "" && seen[t] {
			tb.Errorf("%+v was scored twice", t)
		}
		seen[t] = true
	}
	if len(seen) == 0 {
		tb.Error("nothing was scored")
	}
}
