package integration

import (
	"os/exec"
	"strings"
	"testing"
)

// golist is the lines of a go list command.
func golist(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", strings.Join(args, " "), err)
	}
	return strings.Fields(string(out))
}

// TestWalls keeps the parts apart: what a package imports, at any remove, says
// what it can know.
func TestWalls(t *testing.T) {
	for _, wall := range []struct {
		packages []string
		apart    []string // prefixes of packages that must not be reached
	}{
		{[]string{"pare/gguf"}, []string{"pare/convert", "pare/plugin", "pare/host", "github.com/", "golang.org/x/", "google.golang.org/"}},
		{[]string{"pare/convert"}, []string{"pare/host", "github.com/ollama/", "github.com/gin-gonic/", "github.com/hashicorp/"}},
		{[]string{"pare/plugin"}, []string{"pare/convert", "pare/gguf", "pare/host", "pare/plugin/", "github.com/ollama/", "github.com/gin-gonic/", "github.com/gomlx/"}},
		{[]string{"pare/plugin/profile", "pare/plugin/search", "pare/plugin/evaluate", "pare/plugin/corpus"}, []string{"pare/convert", "pare/gguf", "pare/host", "github.com/ollama/", "github.com/gomlx/"}},
		{[]string{"pare/plugin/pare-plugin"}, []string{"pare/host", "github.com/ollama/", "github.com/gin-gonic/"}},
		{[]string{"pare/host", "pare/host/pare"}, []string{"pare/convert", "pare/gguf", "pare/repair", "pare/plugin/pipeline", "pare/plugin/profile", "pare/plugin/search", "pare/plugin/evaluate", "pare/plugin/corpus", "github.com/gomlx/"}},
		{[]string{"pare/host"}, []string{"github.com/ollama/ollama/llama", "github.com/ollama/ollama/server", "pare/host/tap"}},
	} {
		for _, p := range wall.packages {
			for _, dep := range golist(t, "-deps", p) {
				for _, far := range wall.apart {
					if strings.HasPrefix(dep, far) && dep != p && !strings.HasPrefix(dep, "pare/plugin/internal/") {
						t.Errorf("%s reaches %s", p, dep)
					}
				}
			}
		}
	}
}

// TestOnlyTheTapAndTheScorerTalkC keeps cgo to the packages that exist for it.
func TestOnlyTheTapAndTheScorerTalkC(t *testing.T) {
	for _, p := range golist(t, "-f", "{{if .CgoFiles}}{{.ImportPath}}{{end}}", "pare/...") {
		if p != "pare/host/tap" && !strings.HasPrefix(p, "pare/host/tap/") && p != "pare/host/score/engine" {
			t.Errorf("%s uses cgo", p)
		}
	}
}
