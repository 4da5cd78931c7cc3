package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Settings say which models are traced.
type settings struct {
	Share map[string]float64 `json:"share"` // of the passes to measure, by the digest of the GGUF
}

func readSettings(path string) (settings, error) {
	s := settings{Share: map[string]float64{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read which models are traced (delete %s to trace none): %w", path, err)
	}
	return s, nil
}

func (s settings) with(digest string, share float64) settings {
	next := settings{Share: maps.Clone(s.Share)}
	if next.Share == nil {
		next.Share = map[string]float64{}
	}
	next.Share[digest] = share
	return next
}

func (s settings) write(path string) error {
	b, err := json.MarshalIndent(s, "", " ")
	if err == nil {
		err = renameio.WriteFile(path, b, 0o600, renameio.WithTempDir(filepath.Dir(path)))
	}
	if err != nil {
		return fmt.Errorf("keep which models are traced: %w", err)
	}
	return nil
}
