package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ollama/ollama/types/model"

	"pare/gguf"
	"pare/integration/tinymodel"
)

// in is the server for a subtest, whose failures are then its own.
func (s *server) in(tb testing.TB) *server {
	sub := *s
	sub.tb = tb
	return &sub
}

// createTiny imports a tiny model. One thread computes it faster than several,
// which wait for one another at every step.
func (s *server) createTiny(name string, c tinymodel.Config) {
	s.tb.Helper()
	model, err := tinymodel.New(c)
	if err != nil {
		s.tb.Fatal(err)
	}
	path := filepath.Join(s.home, name+".gguf")
	if err := os.WriteFile(path, model, 0o600); err != nil {
		s.tb.Fatal(err)
	}
	s.create(name, path, "PARAMETER num_thread 1")
}

// write puts a file beside the store, where commands run.
func (s *server) write(name, text string) {
	s.tb.Helper()
	if err := os.WriteFile(filepath.Join(s.home, name), []byte(text), 0o600); err != nil {
		s.tb.Fatal(err)
	}
}

// manifest is the path of a model's manifest.
func (s *server) manifest(name string) string {
	return filepath.Join(s.models(), "manifests", model.ParseName(name).Filepath())
}

// blob is the path of a model's GGUF.
func (s *server) blob(name string) string {
	s.tb.Helper()
	b, err := os.ReadFile(s.manifest(name))
	if err != nil {
		s.tb.Fatal(err)
	}
	var m struct {
		Layers []struct{ MediaType, Digest string }
	}
	if err := json.Unmarshal(b, &m); err != nil {
		s.tb.Fatal(err)
	}
	for _, l := range m.Layers {
		if l.MediaType == "application/vnd.ollama.image.model" {
			return filepath.Join(s.models(), "blobs", strings.Replace(l.Digest, ":", "-", 1))
		}
	}
	s.tb.Fatalf("%s has no model layer: %s", name, b)
	return ""
}

// gguf opens a model's GGUF.
func (s *server) gguf(name string) *gguf.File {
	s.tb.Helper()
	return openGGUF(s.tb, s.blob(name))
}

// openGGUF opens one for as long as the test runs.
func openGGUF(tb testing.TB, path string) *gguf.File {
	tb.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

// links is the number of names that a file has.
func links(tb testing.TB, path string) uint64 {
	tb.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		tb.Fatal(err)
	}
	return uint64(st.Nlink)
}

// contents are the SHA-256 of all manifests and blobs, by path.
func (s *server) contents() map[string]string {
	s.tb.Helper()
	sums := map[string]string{}
	for _, folder := range []string{"manifests", "blobs"} {
		for _, path := range filesBelow(s.tb, filepath.Join(s.models(), folder)) {
			sum, err := fileSum(path)
			if err != nil {
				s.tb.Fatal(err)
			}
			sums[path] = sum
		}
	}
	return sums
}

// shown is what /api/show tells of a model.
type shown struct {
	License, Parameters, Template, System string
	Details                               struct {
		Format, Family    string
		ParameterSize     string `json:"parameter_size"`
		QuantizationLevel string `json:"quantization_level"`
	}
	ModelInfo map[string]any `json:"model_info"`
}

func (s *server) show(name string) shown {
	s.tb.Helper()
	code, body := s.post("/api/show", map[string]string{"model": name})
	var m shown
	if err := json.Unmarshal([]byte(body), &m); code != http.StatusOK || err != nil {
		s.tb.Fatalf("show %s: status %d, %v: %s", name, code, err, body)
	}
	return m
}
