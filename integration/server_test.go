// Package integration tests Pare as its users meet it: the built binary, a real
// server, real models. Run it by `make test`, which builds and fetches what it
// needs and tells where that is by PARE_BIN and PARE_MODEL.
package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pare/host/client"
	"pare/plugin"
)

// fromMake is a path that the Makefile passes in.
func fromMake(tb testing.TB, name string) string {
	tb.Helper()
	v := os.Getenv(name)
	if v == "" {
		tb.Fatalf("%s is not set: run these tests by make test", name)
	}
	return v
}

// A server is a running `pare serve` with a store, a home and a port of its own.
type server struct {
	tb    testing.TB
	home  string // holds everything; $HOME and the models are below
	addr  string
	env   []string
	flags []string // of serve
	cmd   *exec.Cmd
	done  chan struct{} // closed when the process has ended
	log   *os.File
}

// startServer starts a server in an empty store. Extra environment is NAME=value.
func startServer(tb testing.TB, env ...string) *server {
	tb.Helper()
	return startServerIn(tb, tb.TempDir(), env...)
}

// startServerIn starts a server in a home that may hold a store already.
func startServerIn(tb testing.TB, home string, env ...string) *server {
	tb.Helper()
	return started(&server{tb: tb, home: home, addr: freeAddress(tb), env: env})
}

// startServerWith starts a server in an empty home with flags.
func startServerWith(tb testing.TB, flags ...string) *server {
	tb.Helper()
	return started(&server{tb: tb, home: tb.TempDir(), addr: freeAddress(tb), flags: flags})
}

// started is the server, running until the test ends.
func started(s *server) *server {
	s.tb.Helper()
	s.start()
	s.tb.Cleanup(s.stop)
	return s
}

func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *server) models() string { return filepath.Join(s.home, "models") }

// environ is the environment of the server and of its clients.
func (s *server) environ() []string {
	return append(os.Environ(), append([]string{
		"HOME=" + s.home, "OLLAMA_MODELS=" + s.models(), "OLLAMA_HOST=" + s.addr,
		"OLLAMA_NO_CLOUD=1", "OLLAMA_NOHISTORY=1", "TMPDIR=" + os.TempDir(),
	}, s.env...)...)
}

// binary is the server's executable: pare, or what PARE_TEST_SERVER in the
// server's own environment names.
func (s *server) binary() string {
	for _, e := range s.env {
		if v, ok := strings.CutPrefix(e, "PARE_TEST_SERVER="); ok {
			return v
		}
	}
	return fromMake(s.tb, "PARE_BIN")
}

func (s *server) start() {
	s.tb.Helper()
	log, err := os.OpenFile(filepath.Join(s.home, "server.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.log = log
	s.cmd = exec.Command(s.binary(), append([]string{"serve"}, s.flags...)...)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.environ(), log, log
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { cmd.Wait(); close(done) }(s.cmd, s.done)
	s.waitReady()
}

func (s *server) waitReady() {
	s.tb.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		select {
		case <-s.done:
			s.tb.Fatalf("the server ended at once:\n%s", s.tail())
		default:
		}
		resp, err := http.Get("http://" + s.addr + "/api/version")
		if err == nil {
			resp.Body.Close()
			return
		}
	}
	s.tb.Fatalf("the server does not answer:\n%s", s.tail())
}

// tail is the end of the server's log.
func (s *server) tail() string {
	b, err := os.ReadFile(filepath.Join(s.home, "server.log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-6000):])
}

// stop ends the server as Ctrl-C does, and by force if that takes too long.
func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		s.tb.Errorf("the server did not stop:\n%s", s.tail())
		s.kill()
	}
	s.log.Close()
}

// kill ends the server as a crash does.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.done
}

// children are the processes the server has started, by what they are:
// "runner" or "pare-plugin".
func (s *server) children() map[int]string {
	out := map[int]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var pid, ppid int
		var state string
		_, rest, ok := strings.Cut(string(b), ") ")
		if !ok {
			continue
		}
		fmt.Sscan(string(b), &pid)
		fmt.Sscan(rest, &state, &ppid)
		if ppid != s.cmd.Process.Pid || state == "Z" {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		switch args := strings.Split(string(line), "\x00"); {
		case strings.HasSuffix(args[0], "pare-plugin"):
			out[pid] = "pare-plugin"
		case len(args) > 1:
			out[pid] = args[1]
		}
	}
	return out
}

// pare runs a command line against the server and returns its output.
func (s *server) pare(args ...string) (stdout, stderr string, err error) {
	s.tb.Helper()
	cmd := exec.Command(fromMake(s.tb, "PARE_BIN"), args...)
	cmd.Env, cmd.Dir = s.environ(), s.home
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// must is pare for commands that have to work.
func (s *server) must(args ...string) string {
	s.tb.Helper()
	out, errs, err := s.pare(args...)
	if err != nil {
		s.tb.Fatalf("pare %s: %v\n%s%s\nserver:\n%s", strings.Join(args, " "), err, out, errs, s.tail())
	}
	return out
}

// create imports a GGUF under a name.
func (s *server) create(name, gguf string, more ...string) {
	s.tb.Helper()
	file := filepath.Join(s.home, "Modelfile."+name)
	lines := append([]string{"FROM " + gguf}, more...)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.tb.Fatal(err)
	}
	s.must("create", name, "-f", file)
}

// createSmol imports SmolLM2-135M as "smollm2".
func (s *server) createSmol() {
	s.tb.Helper()
	s.create("smollm2", fromMake(s.tb, "PARE_MODEL"))
}

// client is an API client of the server.
func (s *server) client() *client.Client {
	return client.New(&url.URL{Scheme: "http", Host: s.addr}, http.DefaultClient)
}

// plainly has a job choose by distance, repair nothing and measure nothing of the
// result: for tests of something else.
func plainly(r client.PruneRequest) client.PruneRequest {
	r.Criterion, r.Evaluate, r.Repair = "angular", &client.Evaluate{Level: plugin.LevelNone}, unrepaired
	return r
}

// plain are the flags of pare prune for the same.
var plain = []string{"--criterion", "angular", "--evaluate", "none", "--repair", "none"}

// unrepaired leaves a cut model as it is.
var unrepaired = &client.Repair{Method: plugin.RepairNone}

// prune runs a job to its end.
func (s *server) prune(ctx context.Context, r client.PruneRequest) (client.Progress, error) {
	var last client.Progress
	report, err := s.client().Prune(ctx, r, func(p client.Progress) { last = p })
	last.Report = &report
	return last, err
}

// post sends JSON and returns the status and the body.
func (s *server) post(path string, body any) (int, string) {
	s.tb.Helper()
	var b []byte
	switch v := body.(type) {
	case string:
		b = []byte(v)
	default:
		var err error
		if b, err = json.Marshal(v); err != nil {
			s.tb.Fatal(err)
		}
	}
	resp, err := http.Post("http://"+s.addr+path, "application/json", bytes.NewReader(b))
	if err != nil {
		s.tb.Fatalf("POST %s: %v\n%s", path, err, s.tail())
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		s.tb.Fatal(err)
	}
	return resp.StatusCode, string(out)
}

// settled is what the model answers again and again. Its first answer is computed from the
// whole prompt and later ones from what is cached of it, which some processors round
// otherwise, by enough to tip what a tiny model is undecided about.
func (s *server) settled(model, prompt string, tokens int) string {
	s.tb.Helper()
	s.generate(model, prompt, tokens)
	return s.generate(model, prompt, tokens)
}

// generate has a model continue a text, greedily, and fails if it cannot.
func (s *server) generate(model, prompt string, tokens int) (text string) {
	s.tb.Helper()
	code, body := s.post("/api/generate", map[string]any{
		"model": model, "prompt": prompt, "raw": true, "stream": false,
		"options": map[string]any{"temperature": 0, "num_predict": tokens, "repeat_penalty": 1},
	})
	var r struct {
		Response  string
		EvalCount int `json:"eval_count"`
	}
	if code != http.StatusOK || json.Unmarshal([]byte(body), &r) != nil || r.EvalCount == 0 {
		s.tb.Fatalf("generate with %s: status %d: %s\n%s", model, code, body, s.tail())
	}
	return r.Response
}
