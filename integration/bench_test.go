package integration

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pare/convert"
	"pare/gguf"
	"pare/host/client"
)

// Benchmarks compare two things in alternated pairs and print the median ratio
// with its range: on a shared machine one time alone means nothing.

// pairs runs a and b in turn and reports the ratios of what they return, a/b,
// under the given name.
func pairs(b *testing.B, name string, n int, x, y func(round int) float64) {
	b.Helper()
	x(-2) // warm up
	y(-1)
	var ratios []float64
	for i := range n {
		var p, q float64
		if i%2 == 0 {
			p, q = x(2*i), y(2*i+1)
		} else {
			q, p = y(2*i+1), x(2*i)
		}
		ratios = append(ratios, p/q)
		fmt.Printf("%s, pair %d of %d: %.4g / %.4g = %.3f\n", name, i+1, n, p, q, p/q)
	}
	reportRatios(b, name, ratios)
}

// reportRatios reports the median of ratios, and between which they are.
func reportRatios(b *testing.B, name string, ratios []float64) {
	slices.Sort(ratios)
	n := len(ratios)
	b.ReportMetric(ratios[n/2], name)
	b.ReportMetric(ratios[0], name+"-min")
	b.ReportMetric(ratios[n-1], name+"-max")
	b.ReportMetric(0, "ns/op")
}

// opticks is prose that every Go installation brings, read at run time.
func opticks(tb testing.TB) string {
	tb.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		tb.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "src/testdata/Isaac.Newton-Opticks.txt"))
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// passage is the i-th piece of n bytes of prose; no two share a beginning, so
// none comes from the prompt cache.
func passage(tb testing.TB, i, n int) string {
	text := opticks(tb)
	at := (20_000 + (i+10)*n) % (len(text) - n)
	return strings.ToValidUTF8(text[at:at+n], "")
}

// evaluated is what a server says of one request.
type evaluated struct {
	PromptTokens int           `json:"prompt_eval_count"`
	PromptTime   time.Duration `json:"prompt_eval_duration"`
	Tokens       int           `json:"eval_count"`
	Time         time.Duration `json:"eval_duration"`
}

func (s *server) evaluate(model, prompt string, tokens int) evaluated {
	s.tb.Helper()
	code, body := s.post("/api/generate", map[string]any{
		"model": model, "prompt": prompt, "raw": true, "stream": false,
		"options": map[string]any{"temperature": 0, "num_predict": tokens, "stop": []string{}},
	})
	var e evaluated
	if code != http.StatusOK {
		s.tb.Fatalf("generate with %s: %d: %s", model, code, body)
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		s.tb.Fatal(err)
	}
	return e
}

// BenchmarkTracing is the prompt speed of a profile job that traces every token,
// over that of the same server answering plain requests.
func BenchmarkTracing(b *testing.B) {
	s := startServer(b)
	s.createSmol()
	const pieces, size = 4, 1900 // one piece is one prompt for Pare, too
	traced := func(round int) float64 {
		var parts []string
		for i := range pieces {
			line, _ := json.Marshal(map[string]string{"text": passage(b, round*pieces+i, size)})
			parts = append(parts, string(line))
		}
		var began, ended time.Time
		p, err := s.client().Profile(b.Context(), client.ProfileRequest{
			Model: "smollm2", Corpus: &client.Corpus{Name: "bench.jsonl", Text: strings.Join(parts, "\n")},
		}, func(p client.Progress) {
			if p.Stage == "trace" && began.IsZero() {
				began = time.Now()
			}
			if p.Stage == "trace" && p.Completed == p.Total {
				ended = time.Now()
			}
		})
		if err != nil {
			b.Fatal(err)
		}
		return float64(p.Expected) / ended.Sub(began).Seconds()
	}
	plain := func(round int) float64 {
		began, tokens := time.Now(), 0
		for i := range pieces {
			tokens += s.evaluate("smollm2", passage(b, round*pieces+i, size), 1).PromptTokens
		}
		return float64(tokens) / time.Since(began).Seconds()
	}
	pairs(b, "traced/plain", 9, traced, plain)
}

// BenchmarkTapOff is the prompt speed of this server, with the tap in its runner
// and nobody tracing, over that of Ollama's own binary.
func BenchmarkTapOff(b *testing.B) {
	ours := startServer(b)
	theirs := startServer(b, "PARE_TEST_SERVER="+fromMake(b, "OLLAMA_BIN"))
	ours.createSmol()
	theirs.createSmol()
	speed := func(s *server) func(int) float64 {
		return func(round int) float64 {
			e := s.evaluate("smollm2", passage(b, round, 4000), 32)
			return float64(e.PromptTokens) / e.PromptTime.Seconds()
		}
	}
	pairs(b, "pare/ollama", 9, speed(ours), speed(theirs))
}

// BenchmarkGeneration is the generation speed of SmolLM2 without six of its
// thirty layers over that of the whole; the ideal is the ratio of the bytes read
// for a token.
func BenchmarkGeneration(b *testing.B) {
	s := startServer(b, "OLLAMA_MAX_LOADED_MODELS=2")
	// One thread: two that wait for each other are at the mercy of the machine.
	s.create("smollm2", fromMake(b, "PARE_MODEL"), "PARAMETER num_thread 1")
	last, err := s.prune(b.Context(), client.PruneRequest{Model: "smollm2", Name: "small", Range: "13-18", Repair: unrepaired})
	if err != nil {
		b.Fatal(err)
	}
	speed := func(model string) func(int) float64 {
		return func(round int) float64 {
			e := s.evaluate(model, passage(b, round, 200), 128)
			return float64(e.Tokens) / e.Time.Seconds()
		}
	}
	fmt.Printf("ideal, by bytes: %.3f\n", float64(last.Report.Parent.Bytes)/float64(last.Report.Result.Bytes))
	pairs(b, "cut/whole", 9, speed("small"), speed("smollm2"))
}

// BenchmarkCut is the time to cut a GGUF, fsync and digest included, over that
// of cp and sha256sum of a file of the result's size.
func BenchmarkCut(b *testing.B) {
	folder := b.TempDir()
	path := fromMake(b, "PARE_MODEL")
	out := filepath.Join(folder, "cut.gguf")
	cut := func(int) float64 {
		began := time.Now()
		f, err := gguf.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		_, err = convert.Cut(b.Context(), f, out, convert.CutConfig{
			Remove:     []int{13, 14, 15, 16, 17, 18},
			Provenance: convert.Provenance{Parent: fmt.Sprintf("sha256:%x", sha256.Sum256(nil))},
		}, nil)
		if err != nil {
			b.Fatal(err)
		}
		return time.Since(began).Seconds()
	}
	like := filepath.Join(folder, "like.gguf")
	cut(0)
	if err := copyFile(out, like); err != nil {
		b.Fatal(err)
	}
	plain := func(int) float64 {
		began := time.Now()
		to := filepath.Join(folder, "copy.gguf")
		if err := exec.Command("cp", like, to).Run(); err != nil {
			b.Fatal(err)
		}
		if err := exec.Command("sha256sum", to).Run(); err != nil {
			b.Fatal(err)
		}
		return time.Since(began).Seconds()
	}
	pairs(b, "cut/cp+sha256sum", 15, cut, plain)
}

func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		w.Close()
		return err
	}
	return w.Close()
}
