package score

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/ollama/ollama/envconfig"
	"github.com/ollama/ollama/ml"
)

// environment is what the process gets: this one's, with the folders in which
// Ollama's runners find the libraries of GPUs.
func environment() []string {
	folders := libraryFolders(ml.LibOllamaPath)
	search := "LD_LIBRARY_PATH"
	switch runtime.GOOS {
	case "windows":
		search = "PATH"
	case "darwin":
		search = "DYLD_LIBRARY_PATH"
	}
	linker := slices.Concat(folders, filepath.SplitList(os.Getenv(search)))
	const separator = string(filepath.ListSeparator)
	return append(os.Environ(),
		"OLLAMA_LIBRARY_PATH="+strings.Join(folders, separator),
		search+"="+strings.Join(linker, separator))
}

// libraryFolders is a folder of Ollama's libraries and those in it for each kind
// of GPU, the newest version first: a device that two can drive is listed twice,
// and the first counts.
func libraryFolders(root string) []string {
	found, _ := filepath.Glob(filepath.Join(root, "*", "*ggml-*"))
	var kinds []string
	for _, file := range found {
		folder := filepath.Dir(file)
		if strings.Contains(strings.ToLower(filepath.Base(folder)), "vulkan") && !envconfig.EnableVulkan() {
			continue
		}
		if !slices.Contains(kinds, folder) {
			kinds = append(kinds, folder)
		}
	}
	slices.Sort(kinds)
	slices.Reverse(kinds)
	return append([]string{root}, kinds...)
}
