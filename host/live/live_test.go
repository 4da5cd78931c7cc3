package live

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pare/host/trace"
	"pare/host/trace/wire"
	"pare/plugin"
	"pare/plugin/traffic"
)

const layers = 2

// A runner is a server as Ollama's runners are, with a tap that counts the tokens it
// computes: for each request the tokens of its prompt and as many again, less one.
type runner struct {
	http *httptest.Server
	conn net.Conn

	mu      sync.Mutex
	session uint64
	tokens  int64
	faults  int64         // passes that it says it could not follow
	hold    chan struct{} // a request waits for it after it has computed its prompt
	deaf    chan struct{} // no command is answered before it is closed
	begun   chan struct{} // a request has computed its prompt
	done    chan struct{} // and the rest
}

func newRunner(t *testing.T, tap *trace.Server, model string) *runner {
	t.Helper()
	r := &runner{begun: make(chan struct{}, 1000), done: make(chan struct{}, 1000)}
	r.http = httptest.NewServer(http.HandlerFunc(r.complete))
	t.Cleanup(r.http.Close)
	var err error
	if r.conn, err = net.Dial("unix", tap.Path()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.conn.Close() })
	u, _ := url.Parse(r.http.URL)
	port, _ := strconv.Atoi(u.Port())
	if err := wire.Write(r.conn, wire.Hello{Version: wire.Version, PID: 1, Model: model, Port: port}); err != nil {
		t.Fatal(err)
	}
	if err := r.answer(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for r.answer() == nil {
		}
	}()
	return r
}

func (r *runner) answer() error {
	var c wire.Command
	if err := wire.Read(r.conn, &c); err != nil {
		return err
	}
	r.mu.Lock()
	deaf := r.deaf
	r.mu.Unlock()
	if deaf != nil {
		<-deaf
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	reply := wire.Reply{Session: r.session}
	if r.session != 0 && r.tokens > 0 && (c.Op != wire.Drain || c.Session == r.session) {
		d := plugin.TraceDelta{Layers: layers, Hidden: 4, All: plugin.NewSums(layers), Last: plugin.NewSums(layers), First: plugin.NewSums(layers)}
		d.All.Tokens, r.tokens = r.tokens, 0
		reply.Delta = &d
	}
	if r.session != 0 && r.faults > 0 {
		reply.Delta = &plugin.TraceDelta{Faults: []plugin.Fault{{Reason: "unknown graph", Graphs: r.faults}}}
	}
	switch c.Op {
	case wire.Start:
		r.session, r.tokens = c.Session, 0
	case wire.Stop:
		r.session = 0
	}
	return wire.Write(r.conn, reply)
}

func (r *runner) compute(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != 0 {
		r.tokens += n
	}
}

// complete answers /completion?tokens=N.
func (r *runner) complete(w http.ResponseWriter, q *http.Request) {
	if q.URL.Path == "/load" {
		return
	}
	n, _ := strconv.ParseInt(q.URL.Query().Get("tokens"), 10, 64)
	r.compute(n)
	r.begun <- struct{}{}
	r.mu.Lock()
	hold := r.hold
	r.mu.Unlock()
	if hold != nil {
		<-hold
	}
	for range 300 {
		fmt.Fprintf(w, `{"content":"\",\"eval_count\":999","done":false}`+"\n")
	}
	r.compute(n - 1)
	r.done <- struct{}{}
	json.NewEncoder(w).Encode(map[string]any{"content": "", "done": true, "eval_count": n, "prompt_eval_count": n})
}

type fixture struct {
	t      *testing.T
	config Config
	tracer *Tracer
	digest string
	path   string // of the GGUF
}

func newFixture(t *testing.T, share float64) *fixture {
	t.Helper()
	dir, err := os.MkdirTemp("", "live")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tap, err := trace.Listen(filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tap.Close() })
	f := &fixture{t: t, digest: "sha256:ab", path: filepath.Join(dir, "sha256-ab"), config: Config{
		Tap: tap, Share: share, Settings: filepath.Join(dir, "live.json"), Log: slog.New(slog.DiscardHandler),
		Folder: func(digest string) string { return plugin.ProfileFolder(filepath.Join(dir, "profiles"), digest) },
	}}
	f.start()
	return f
}

func (f *fixture) start() {
	f.t.Helper()
	var err error
	if f.tracer, err = New(f.config); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(sync.OnceFunc(f.tracer.Close))
}

// ask sends a request as Ollama does when a user's has come in with a header.
func (f *fixture) ask(r *runner, tokens int, header ...string) {
	f.t.Helper()
	if err := f.askUntil(f.t.Context(), r, tokens, header...); err != nil {
		f.t.Error(err)
	}
}

// askUntil is ask by a user who gives up when ctx ends.
func (f *fixture) askUntil(ctx context.Context, r *runner, tokens int, header ...string) (failed error) {
	f.t.Helper()
	client := http.Client{Transport: f.tracer.Transport(http.DefaultTransport)}
	route := f.tracer.Label(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		to, err := http.NewRequestWithContext(q.Context(), http.MethodPost, fmt.Sprint(r.http.URL, "/completion?tokens=", tokens), nil)
		if err != nil {
			failed = err
			return
		}
		resp, err := client.Do(to)
		if err != nil {
			failed = err
			return
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}))
	q := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/generate", nil)
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	route.ServeHTTP(httptest.NewRecorder(), q)
	return failed
}

// load has a runner load its model as Ollama does.
func (f *fixture) load(r *runner, adapters ...string) {
	f.t.Helper()
	body, _ := json.Marshal(map[string]any{"LoraPath": adapters}) // of llm.LoadRequest
	client := http.Client{Transport: f.tracer.Transport(http.DefaultTransport)}
	resp, err := client.Post(r.http.URL+"/load", "application/json", bytes.NewBuffer(body))
	if err != nil {
		f.t.Fatal(err)
	}
	resp.Body.Close()
}

// expect checks the counts of each label: requests, prompt tokens, generated tokens and
// measured tokens.
func (f *fixture) expect(want map[string][4]int64) {
	f.t.Helper()
	rows, err := f.tracer.Traffic(f.digest, f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	for label := range rows {
		c, err := traffic.Sum(rows[label])
		if err != nil {
			f.t.Fatal(err)
		}
		if got := [4]int64{c.Requests, c.Prompt, c.Generated, c.Measured()}; got != want[label] {
			f.t.Errorf("label %q counts %v, want %v", label, got, want[label])
		}
	}
	if len(rows) != len(want) {
		f.t.Errorf("there are %d labels, want %d", len(rows), len(want))
	}
}

func TestTrafficByLabel(t *testing.T) {
	f := newFixture(t, 1)
	r := newRunner(t, f.config.Tap, f.path)
	f.ask(r, 5)
	f.ask(r, 7, LabelHeader, "code")
	f.ask(r, 9, LabelHeader, "code")
	f.expect(map[string][4]int64{"": {1, 5, 5, 9}, "code": {2, 16, 16, 30}})
	f.tracer.Close() // and a runner that another server finds
	f.start()
	f.ask(newRunner(t, f.config.Tap, f.path), 3, LabelHeader, "code")
	f.expect(map[string][4]int64{"": {1, 5, 5, 9}, "code": {3, 19, 19, 35}})
}

// What several labels' requests compute together bears none, before and after each has
// its own.
func TestLabelsTogether(t *testing.T) {
	f := newFixture(t, 1)
	r := newRunner(t, f.config.Tap, f.path)
	r.hold = make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() { f.ask(r, 10, LabelHeader, "a") })
	<-r.begun
	both.Go(func() { f.ask(r, 100, LabelHeader, "b") })
	<-r.begun
	close(r.hold)
	both.Wait()
	rows, err := f.tracer.Traffic(f.digest, f.path)
	if err != nil {
		t.Fatal(err)
	}
	measured := map[string]int64{}
	for label, row := range rows {
		c, _ := traffic.Sum(row)
		measured[label] = c.Measured()
	}
	if measured["a"] < 10 || measured[""] < 100 {
		t.Errorf("measured %v, want at least 10 of a's alone and b's 100 without a label", measured)
	}
	if sum := measured["a"] + measured["b"] + measured[""]; sum != 218 {
		t.Errorf("%d tokens were measured, want 218", sum)
	}
}

func TestOwnRequestsAreNoTraffic(t *testing.T) {
	f := newFixture(t, 1)
	r := newRunner(t, f.config.Tap, f.path)
	f.ask(r, 50, ownHeader, f.tracer.own)
	f.ask(r, 5, ownHeader, "a guess")
	f.expect(map[string][4]int64{"": {1, 5, 5, 9}})
}

// A model with an adapter is another one.
func TestAdaptersAreNoTraffic(t *testing.T) {
	f := newFixture(t, 1)
	r := newRunner(t, f.config.Tap, f.path)
	f.load(r, "adapter.gguf")
	f.ask(r, 50)
	f.load(r)
	f.ask(r, 5)
	f.expect(map[string][4]int64{"": {1, 5, 5, 9}})
}

// What a runner computes for a request after it was given up is its label's still.
func TestRequestGivenUp(t *testing.T) {
	f := newFixture(t, 1)
	r := newRunner(t, f.config.Tap, f.path)
	r.hold = make(chan struct{})
	ctx, giveUp := context.WithCancel(t.Context())
	go func() { <-r.begun; giveUp() }()
	if err := f.askUntil(ctx, r, 10, LabelHeader, "a"); err == nil {
		t.Fatal("the request was answered")
	}
	close(r.hold)
	<-r.done
	f.ask(r, 7, LabelHeader, "b")
	f.expect(map[string][4]int64{"a": {1, 0, 0, 19}, "b": {1, 7, 7, 13}})
}

// Of more labels than are kept those that came first are, whatever their names, also
// if all came between two times at which they are stored.
func TestFirstLabelsAreKept(t *testing.T) {
	f := newFixture(t, 1)
	r := newRunner(t, f.config.Tap, f.path)
	want := map[string][4]int64{"": {4, 20, 20, 36}}
	for i := range traffic.MaxLabels + 3 {
		label := fmt.Sprintf("label-%02d", 99-i)
		f.ask(r, 5, LabelHeader, label)
		if i < traffic.MaxLabels {
			want[label] = [4]int64{1, 5, 5, 9}
		}
	}
	f.ask(r, 5)
	f.expect(want)
}

// A runner that answers no command delays requests, each for itself.
func TestDeafRunner(t *testing.T) {
	f := newFixture(t, 1)
	r := newRunner(t, f.config.Tap, f.path)
	r.mu.Lock()
	r.deaf = make(chan struct{})
	r.mu.Unlock()
	begun := time.Now()
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() { f.ask(r, 3, LabelHeader, fmt.Sprint("label", i)) })
	}
	all.Wait()
	if d := time.Since(begun); d > 3*patience {
		t.Errorf("five requests at once took %v", d)
	}
	close(r.deaf)
	rows, err := f.tracer.Traffic(f.digest, f.path)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := traffic.Sum(traffic.Pick(rows, "")); err != nil || c.Requests != 5 || c.Prompt != 15 {
		t.Errorf("%+v, %v: want five requests", c, err)
	}
}

// A model of which no pass can be followed is not watched for long.
func TestModelThatCannotBeFollowed(t *testing.T) {
	f := newFixture(t, 1)
	r := newRunner(t, f.config.Tap, f.path)
	r.faults = maxBlind
	f.ask(r, 5)
	r.mu.Lock()
	session := r.session
	r.mu.Unlock()
	if session != 0 {
		t.Error("it is watched still")
	}
	if why := f.tracer.Lost(f.digest); !strings.Contains(why, "unknown graph") {
		t.Errorf("it is not traced because %q", why)
	}
	rows, err := f.tracer.Traffic(f.digest, f.path)
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := traffic.Sum(rows[""]); len(c.Delta.Faults) != 1 {
		t.Errorf("faults are %v, want the one", c.Delta.Faults)
	}
}

func TestWhichModelsAreTraced(t *testing.T) {
	f := newFixture(t, 0)
	r := newRunner(t, f.config.Tap, f.path)
	f.ask(r, 4)
	f.expect(nil)
	if err := f.tracer.SetShare(t.Context(), f.digest, f.path, 1); err != nil {
		t.Fatal(err)
	}
	f.ask(r, 5)
	f.tracer.Close()
	f.start() // still traced: it is kept
	r = newRunner(t, f.config.Tap, f.path)
	f.ask(r, 6)
	f.expect(map[string][4]int64{"": {2, 11, 11, 20}})
	if known := f.tracer.Known(); len(known) != 1 || known[0] != f.digest {
		t.Errorf("known are %v, want the model", known)
	}
	if err := f.tracer.SetShare(t.Context(), f.digest, f.path, 0); err != nil {
		t.Fatal(err)
	}
	f.ask(r, 7)
	f.expect(map[string][4]int64{"": {2, 11, 11, 20}})
	for _, share := range []float64{-0.1, 1.1} {
		if err := f.tracer.SetShare(t.Context(), f.digest, f.path, share); plugin.KindOf(err) != plugin.Invalid {
			t.Errorf("share %g: %v", share, err)
		}
	}
}

func TestBadLabel(t *testing.T) {
	f := newFixture(t, 1)
	w := httptest.NewRecorder()
	q := httptest.NewRequest(http.MethodPost, "/api/generate", nil)
	q.Header.Set(LabelHeader, "no spaces")
	f.tracer.Label(http.NotFoundHandler()).ServeHTTP(w, q)
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), LabelHeader) {
		t.Errorf("got %d %s, want 400 and the header's name", w.Code, w.Body)
	}
}

// A model that is always in use loses nothing and no request fails, whatever else is
// asked of the tracer.
func TestConcurrentUse(t *testing.T) {
	f := newFixture(t, 1)
	rs := []*runner{newRunner(t, f.config.Tap, f.path), newRunner(t, f.config.Tap, f.path)}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 20 {
				f.ask(rs[i%2], 3, LabelHeader, []string{"a", "b"}[i/4])
			}
		})
	}
	all.Go(func() {
		for range 20 {
			if _, err := f.tracer.Traffic(f.digest, f.path); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	rows, err := f.tracer.Traffic(f.digest, f.path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := traffic.Sum(traffic.Pick(rows, ""))
	if err != nil {
		t.Fatal(err)
	}
	if c.Requests != 160 || c.Prompt != 480 || c.Measured() != 800 {
		t.Errorf("%d requests, %d prompt tokens and %d measured, want 160, 480 and 800", c.Requests, c.Prompt, c.Measured())
	}
}
