package host

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ollama/ollama/ml"
	"github.com/ollama/ollama/version"
)

// install puts an ollama of some version on the PATH, with or without libraries,
// and returns the folder these are in.
func install(t *testing.T, v string, libraries bool) string {
	t.Helper()
	root := t.TempDir()
	lib := filepath.Join(root, "lib", "ollama")
	if libraries {
		if err := os.MkdirAll(lib, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := fmt.Sprintf("#!/bin/sh\necho 'Warning: could not connect to a running Ollama instance'\necho 'Warning: client version is %s'\n", v)
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "ollama"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return lib
}

func TestInstalledLibrariesMustBeOfThisVersion(t *testing.T) {
	for _, c := range []struct {
		name, installed string
		libraries       bool
		used            bool
		says            string
	}{
		{"same version", version.Version, true, true, "using the GPU libraries"},
		{"other version", "0.1.2", true, false, "another version"},
		{"no libraries", version.Version, false, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := ml.LibOllamaPath
			defer func() { ml.LibOllamaPath = before }()
			lib := install(t, c.installed, c.libraries)
			var log bytes.Buffer
			useInstalledLibraries(slog.New(slog.NewTextHandler(&log, nil)))
			if used := ml.LibOllamaPath != before; used != c.used {
				t.Errorf("libraries used: %v, want %v", used, c.used)
			}
			if real, _ := filepath.EvalSymlinks(lib); c.used && filepath.Clean(ml.LibOllamaPath) != real {
				t.Errorf("uses %s, want %s", ml.LibOllamaPath, lib)
			}
			if !strings.Contains(log.String(), c.says) {
				t.Errorf("logged %q, want %q", log.String(), c.says)
			}
		})
	}
}
