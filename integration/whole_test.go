package integration

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkStore fails the test unless all that the manifests name is there and
// whole, and nothing else is: no blob without a model, no half-written file.
func checkStore(tb testing.TB, models string) {
	tb.Helper()
	named := map[string]bool{}
	for _, path := range filesBelow(tb, filepath.Join(models, "manifests")) {
		for _, digest := range blobsOf(tb, path) {
			named[strings.Replace(digest, ":", "-", 1)] = true
		}
	}
	for name := range named {
		if sum, err := fileSum(filepath.Join(models, "blobs", name)); err != nil {
			tb.Errorf("a manifest names a blob that cannot be read: %v", err)
		} else if "sha256-"+sum != name {
			tb.Errorf("blob %s holds something else, of SHA-256 %s", name, sum)
		}
	}
	for _, path := range filesBelow(tb, filepath.Join(models, "blobs")) {
		if !named[filepath.Base(path)] {
			tb.Errorf("no manifest names %s", path)
		}
	}
	for _, path := range filesBelow(tb, filepath.Join(models, "pare")) {
		switch base := filepath.Base(path); {
		case strings.HasPrefix(base, "."), strings.HasSuffix(base, ".gguf"), strings.HasSuffix(base, ".tmp"):
			tb.Errorf("%s was left behind", path)
		}
	}
	entries, err := os.ReadDir(models)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{"blobs", "manifests", "pare"}, e.Name()) {
			tb.Errorf("%s was left behind", filepath.Join(models, e.Name()))
		}
	}
}

func filesBelow(tb testing.TB, folder string) (paths []string) {
	tb.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return paths
}

// blobsOf lists the digests that a manifest names.
func blobsOf(tb testing.TB, path string) (digests []string) {
	tb.Helper()
	type layer struct{ Digest string }
	var m struct {
		Config layer
		Layers []layer
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		tb.Errorf("read manifest %s: %v", path, err)
	}
	for _, l := range append(m.Layers, m.Config) {
		if l.Digest != "" {
			digests = append(digests, l.Digest)
		}
	}
	return digests
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}
