package host

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ollama/ollama/ml"
	"github.com/ollama/ollama/version"
)

// useInstalledLibraries lets this server use the GPU libraries of an installed
// Ollama, if it is of the very version this one was built from: they are loaded
// into our process and must fit it. Without them the CPU does the work.
func useInstalledLibraries(log *slog.Logger) {
	if _, set := os.LookupEnv("OLLAMA_LIBRARY_PATH"); set {
		return
	}
	installed, err := exec.LookPath("ollama")
	if err != nil {
		return
	}
	if real, err := filepath.EvalSymlinks(installed); err == nil {
		installed = real
	}
	libraries := filepath.Join(filepath.Dir(installed), "..", "lib", "ollama")
	if _, err := os.Stat(libraries); err != nil {
		return
	}
	if v := installedVersion(installed); v != version.Version {
		log.Warn("the installed Ollama is of another version; its GPU libraries are not used and the CPU does the work",
			"installed", v, "wanted", version.Version, "path", installed)
		return
	}
	log.Info("using the GPU libraries of the installed Ollama", "path", libraries)
	ml.LibOllamaPath = libraries
}

// installedVersion asks an ollama binary for its version, without a server.
func installedVersion(path string) string {
	cmd := exec.Command(path, "--version")
	cmd.Env = append(os.Environ(), "OLLAMA_HOST=127.0.0.1:1")
	out, _ := cmd.CombinedOutput()
	words := strings.Fields(string(out))
	if len(words) == 0 {
		return "unknown"
	}
	return words[len(words)-1]
}
