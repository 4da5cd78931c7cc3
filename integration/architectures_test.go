package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"pare/host/client"
	"pare/integration/tinymodel"
	"pare/plugin"
)

// TestArchitectures takes each architecture through the main job in both of
// Ollama's engines, and compares what the engines' residual streams tell.
func TestArchitectures(t *testing.T) {
	measured := map[string]map[string]plugin.Profile{}
	for engine, env := range map[string]string{"default": "OLLAMA_NEW_ENGINE=", "new": "OLLAMA_NEW_ENGINE=1"} {
		measured[engine] = map[string]plugin.Profile{}
		t.Run(engine, func(t *testing.T) {
			s := startServer(t, env)
			for _, arch := range tinymodel.Architectures {
				t.Run(arch, func(t *testing.T) {
					measured[engine][arch] = pruneTiny(t, s.in(t), arch)
					// qwen3 and gemma3 always run on the new one.
					if old := engine == "default" && (arch == "llama" || arch == "qwen2"); s.onNewEngine(arch) == old {
						t.Errorf("a runner of the wrong engine computed it")
					}
				})
			}
			t.Run("forbidden cut", func(t *testing.T) { checkForbidden(t, s.in(t)) })
		})
	}
	for _, arch := range []string{"llama", "qwen2"} {
		a, b := measured["default"][arch], measured["new"][arch]
		if a.Tokens != b.Tokens || a.Layers == 0 || a.Layers != b.Layers {
			t.Fatalf("%s: %d tokens in one engine, %d in the other", arch, a.Tokens, b.Tokens)
		}
		if d := apart(a.All, b.All, a.Layers); d > 0.005 {
			t.Errorf("%s: the engines' distances differ by %g", arch, d)
		}
	}
}

// pruneTiny traces a model, cuts two layers, or a period of gemma3's, and lets
// the rest write. It returns the profile.
func pruneTiny(t *testing.T, s *server, arch string) plugin.Profile {
	s.createTiny(arch, tinymodel.Config{Architecture: arch})
	n := 2
	if arch == "gemma3" {
		n = 6
	}
	_, err := s.client().Profile(context.Background(), client.ProfileRequest{
		Model: arch, Corpus: &client.Corpus{Name: "tales", Text: tales},
	}, func(client.Progress) {})
	if err != nil {
		t.Fatalf("profile: %v\n%s", err, s.tail())
	}
	if _, err := s.prune(context.Background(), plainly(client.PruneRequest{Model: arch, Name: arch + "-small", Layers: &n})); err != nil {
		t.Fatalf("prune: %v\n%s", err, s.tail())
	}
	checkCutFile(t, s, arch, arch+"-small", n)
	s.generate(arch+"-small", "the light of", 8)
	p := s.kept(arch)
	checkTokens(t, s, arch, p, documents(t, tales))
	return p
}

// onNewEngine tells whether Ollama's own engine runs a model.
func (s *server) onNewEngine(model string) bool {
	s.tb.Helper()
	for pid := range s.children() {
		line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err == nil && bytes.Contains(line, []byte(filepath.Base(s.blob(model)))) {
			return bytes.Contains(line, []byte("--ollama-engine"))
		}
	}
	s.tb.Fatalf("no runner has %s", model)
	return false
}

// checkForbidden asks for a cut of gemma3 that would change the kinds of its
// layers, and then for the one that the refusal names.
func checkForbidden(t *testing.T, s *server) {
	code, body := s.post("/api/prune", client.PruneRequest{Model: "gemma3", Name: "forbidden", Range: "2-4"})
	instead := regexp.MustCompile(`every 6th layer .*; remove layers ([0-9,-]+) instead`).FindStringSubmatch(body)
	if code != http.StatusUnprocessableEntity || instead == nil {
		t.Fatalf("status %d: %s", code, body)
	}
	code, body = s.post("/api/prune", plainly(client.PruneRequest{Model: "gemma3", Name: "allowed", Range: instead[1], Stream: new(bool)}))
	var last client.Progress
	if err := json.Unmarshal([]byte(body), &last); code != http.StatusOK || err != nil || last.Report == nil {
		t.Fatalf("remove %s: status %d, %v: %s", instead[1], code, err, body)
	}
	s.generate("allowed", "the light of", 8)
}
