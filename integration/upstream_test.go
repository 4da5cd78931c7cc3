package integration

import (
	"context"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// upstreamTests are those of Ollama's own integration tests that a small model
// can run: the others fetch models, or want answers that it does not know.
const upstreamTests = `^(TestAPIGenerate|TestAPIChat|TestAPIListModels|TestAPIShowModel` +
	`|TestAPIGenerateLogprobs|TestAPIChatLogprobs|TestBlueSky|TestNumPredict|TestAllMiniLMEmbedTruncate)$` +
	`|^(TestEmbedTruncation|TestEmbedStatusCode)$/^all-minilm$`

// upstreamModels are the names under which those tests look for models.
var upstreamModels = []string{"llama3.2", "qwen3:0.6b", "all-minilm"}

// Ollama's own integration tests end alike against `pare serve` and against
// Ollama's own server, with the same store.
func TestUpstreamTestsEndAlike(t *testing.T) {
	tests := filepath.Join(t.TempDir(), "upstream.test")
	const pkg = "github.com/ollama/ollama/integration"
	if out, err := exec.Command("go", "test", "-c", "-tags=integration", "-o", tests, pkg).CombinedOutput(); err != nil {
		t.Fatalf("build Ollama's tests: %v\n%s", err, out)
	}
	out, err := exec.Command("go", "list", "-tags=integration", "-f", "{{.Dir}}", pkg).Output()
	if err != nil {
		t.Fatalf("find Ollama's tests: %v", err)
	}
	folder := strings.TrimSpace(string(out)) // their data is there

	theirs, ours := bothServers(t, func(s *server) {
		// Their tests have limits of a minute. Two threads that wait for each other
		// on a busy machine can be 20 times slower than one, and pass those.
		s.create("smollm2", fromMake(t, "PARE_MODEL"), "LICENSE Apache-2.0", "PARAMETER num_predict 40", "PARAMETER num_thread 1")
		for _, name := range upstreamModels {
			s.must("cp", "smollm2", name)
		}
	}, func(s *server) map[string]string { return runUpstream(t, s, tests, folder) })

	passed := 0
	for name, result := range theirs {
		if result == "PASS" {
			passed++
		}
		if ours[name] != result {
			t.Errorf("%s: %q with Ollama's server, %q with ours", name, result, ours[name])
		}
	}
	for name := range ours {
		if _, ok := theirs[name]; !ok {
			t.Errorf("%s: ran with our server only", name)
		}
	}
	t.Logf("%d of %d tests pass with Ollama's server", passed, len(theirs))
	if passed < 20 {
		t.Errorf("that is too few to tell anything: %v", theirs)
	}
}

// bothServers prepares a store and asks a question of Ollama's server and then
// of ours, one after the other in that store.
func bothServers[T any](t *testing.T, prepare func(*server), ask func(*server) T) (theirs, ours T) {
	t.Helper()
	home := t.TempDir()
	s := startServerIn(t, home, "PARE_TEST_SERVER="+fromMake(t, "OLLAMA_BIN"))
	prepare(s)
	theirs = ask(s)
	s.stop()
	return theirs, ask(startServerIn(t, home))
}

var resultLine = regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+)`)

// runUpstream runs Ollama's tests against a server and returns how each ended.
func runUpstream(t *testing.T, s *server, tests, folder string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tests, "-test.v", "-test.run", upstreamTests)
	cmd.Env = append(s.environ(), "OLLAMA_TEST_EXISTING=1", "OLLAMA_TEST_DEFAULT_MODEL=smollm2")
	cmd.Dir = folder
	out, _ := cmd.CombinedOutput() // what failed is in the lines
	if ctx.Err() != nil {
		t.Fatalf("Ollama's tests took too long:\n%s", out)
	}
	results, failed := map[string]string{}, false
	for _, m := range resultLine.FindAllStringSubmatch(string(out), -1) {
		results[m[2]] = m[1]
		failed = failed || m[1] == "FAIL"
	}
	if failed {
		t.Logf("%s: not all tests pass:\n%s", s.binary(), out)
	}
	return results
}

// requests are asked of both servers: what Ollama answers itself, and what it
// has no answer to.
var requests = []struct{ method, path, host, body string }{
	{"GET", "/", "", ""},
	{"HEAD", "/", "", ""},
	{"GET", "/api/version", "", ""},
	{"HEAD", "/api/version", "", ""},
	{"GET", "/api/tags", "", ""},
	{"GET", "/api/ps", "", ""},
	{"GET", "/v1/models", "", ""},
	{"POST", "/api/show", "", `{"model": "smollm2"}`},
	{"POST", "/api/show", "", `{"model": "nobody"}`},
	{"POST", "/api/generate", "", `{"model": "nobody", "prompt": "Hi"}`},
	{"POST", "/api/chat", "", `{"model": `},
	{"DELETE", "/api/delete", "", `{"model": "nobody"}`},
	{"GET", "/nowhere", "", ""},
	{"POST", "/nowhere", "", "{}"},
	{"GET", "/api", "", ""},
	{"GET", "/api/nowhere", "", ""},
	{"GET", "/api/pruned", "", ""},
	{"GET", "/api/generate", "", ""},
	{"PUT", "/api/chat", "", "{}"},
	{"DELETE", "/api/tags", "", ""},
	{"POST", "/api/version", "", "{}"},
	{"OPTIONS", "/api/tags", "", ""},
	{"GET", "/api//tags", "", ""},
	{"GET", "/api/tags/", "", ""},
	{"GET", "/api/tags", "elsewhere.example", ""},
}

// Whatever is not Pare's own is answered as Ollama's server answers it, to the
// byte, and with the same headers but for the date.
func TestOllamaAnswersUnchanged(t *testing.T) {
	ask := func(s *server) (answers []string) {
		for _, r := range requests {
			answers = append(answers, s.answer(r.method, r.path, r.host, r.body))
		}
		return answers
	}
	theirs, ours := bothServers(t, (*server).createSmol, ask)
	for i, r := range requests {
		if theirs[i] != ours[i] {
			t.Errorf("%s %s %s\nOllama answers\n%s\nand Pare\n%s", r.method, r.path, r.host, theirs[i], ours[i])
		}
	}
}

// answer is the status, headers and body that a request gets, as text.
func (s *server) answer(method, path, host, body string) string {
	s.tb.Helper()
	req, err := http.NewRequest(method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.tb.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
	if err != nil {
		s.tb.Fatalf("%s %s: %v\n%s", method, path, err, s.tail())
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.tb.Fatal(err)
	}
	resp.Header.Del("Date")
	var text strings.Builder
	text.WriteString(resp.Status + "\n")
	resp.Header.Write(&text)
	return text.String() + string(b)
}

// added are the flags that Pare gives to verbs of Ollama.
var added = map[string]string{"serve": "--trace "}

// Every verb of ollama is one of pare, with the same words of help, but for what is
// added.
func TestOllamaVerbsUnchanged(t *testing.T) {
	verbs := commands(help(t, "OLLAMA_BIN"))
	if len(verbs) < 10 {
		t.Fatalf("ollama has the verbs %v only", slices.Collect(maps.Keys(verbs)))
	}
	ours := commands(help(t, "PARE_BIN"))
	for verb, about := range verbs {
		if ours[verb] != about {
			t.Errorf("%s: %q, with pare %q", verb, about, ours[verb])
			continue
		}
		theirHelp := strings.ReplaceAll(help(t, "OLLAMA_BIN", verb), "ollama", "pare")
		ourHelp := strings.ReplaceAll(help(t, "PARE_BIN", verb), "ollama", "pare")
		if flag := added[verb]; flag != "" {
			theirHelp, ourHelp = without(theirHelp, flag), without(ourHelp, flag)
			if !strings.Contains(help(t, "PARE_BIN", verb), flag) {
				t.Errorf("help of %s says nothing of %s", verb, flag)
			}
		}
		if theirHelp != ourHelp {
			t.Errorf("help of %s:\n%s\nwith pare:\n%s", verb, theirHelp, ourHelp)
		}
	}
}

// without is a help text without the line of a flag, and without the spaces that put the
// other flags' lines in columns with it. All other lines stay as they are.
func without(help, flag string) string {
	var rest strings.Builder
	for line := range strings.Lines(help) {
		words := strings.Join(strings.Fields(line), " ")
		switch {
		case strings.HasPrefix(words, flag):
		case strings.HasPrefix(words, "-"):
			rest.WriteString(words + "\n")
		default:
			rest.WriteString(line)
		}
	}
	return rest.String()
}

// help is what a program says when asked for help on a verb, or on itself.
func help(t *testing.T, program string, verb ...string) string {
	t.Helper()
	cmd := exec.Command(fromMake(t, program), append(verb, "--help")...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	return string(out)
}

// commands are the verbs in a help text, each with what is said about it.
func commands(help string) map[string]string {
	_, list, _ := strings.Cut(help, "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	out := map[string]string{}
	for line := range strings.Lines(list) {
		verb, about, _ := strings.Cut(strings.TrimSpace(line), " ")
		out[verb] = strings.TrimSpace(about)
	}
	return out
}
