package trace

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pare/host/trace/wire"
	"pare/plugin"
)

// A fakeRunner speaks the runner's side of the protocol. While it traces, each
// call of compute counts tokens.
type fakeRunner struct {
	conn net.Conn

	mu      sync.Mutex
	tracing bool
	session uint64
	share   float64
	tokens  int64
	layers  int
	die     bool          // hang up instead of answering the next drain
	mute    bool          // never answer again
	busy    chan struct{} // until closed, no command is carried out
}

// connect introduces a runner of model and carries out its first command.
func connect(t *testing.T, s *Server, model string) *fakeRunner {
	t.Helper()
	conn, err := net.Dial("unix", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f := &fakeRunner{conn: conn, layers: 2}
	if err := wire.Write(conn, wire.Hello{Version: wire.Version, PID: 1, Model: model}); err != nil {
		t.Fatal(err)
	}
	if err := f.answer(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for f.answer() == nil {
		}
		conn.Close()
	}()
	return f
}

func (f *fakeRunner) answer() error {
	var c wire.Command
	if err := wire.Read(f.conn, &c); err != nil {
		return err
	}
	f.mu.Lock()
	busy := f.busy
	f.mu.Unlock()
	if busy != nil {
		<-busy
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var r wire.Reply
	switch c.Op {
	case wire.Start, wire.Stop:
		r = f.harvest()
		f.tracing, f.session, f.share = c.Op == wire.Start, c.Session, c.Share
	case wire.Drain:
		if f.die {
			return net.ErrClosed
		}
		if c.Session == f.session {
			r = f.harvest()
		}
	}
	if f.mute {
		return nil
	}
	return wire.Write(f.conn, r)
}

// harvest hands over what was counted for the session.
func (f *fakeRunner) harvest() (r wire.Reply) {
	if !f.tracing {
		return r
	}
	r = wire.Reply{Session: f.session, Delta: &plugin.TraceDelta{}}
	if f.tokens > 0 {
		r.Delta = delta(f.layers, f.tokens)
	}
	f.tokens = 0
	return r
}

func (f *fakeRunner) compute(tokens int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tracing {
		f.tokens += tokens
	}
}

func (f *fakeRunner) traced() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tracing
}

func (f *fakeRunner) set(change func(*fakeRunner)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// delta is a delta in which every sum is the number of tokens.
func delta(layers int, tokens int64) *plugin.TraceDelta {
	sums := func() plugin.Sums {
		s := plugin.NewSums(layers)
		s.Tokens = tokens
		for _, v := range [][]float64{s.Angle, s.Cosine, s.Step, s.Norm} {
			for i := range v {
				v[i] = float64(tokens)
			}
		}
		return s
	}
	return &plugin.TraceDelta{Layers: layers, Hidden: 4, All: sums(), Last: sums(), First: sums(), LeftOut: tokens}
}

const model = "/models/blobs/sha256-abc"

func listen(t *testing.T) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "tap") // t.TempDir's names are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	s, err := Listen(filepath.Join(dir, "trace"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		os.RemoveAll(dir)
	})
	return s
}

func start(t *testing.T, s *Server, model string) *Session {
	t.Helper()
	session, err := s.Start(t.Context(), model, AllTokens)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Stop)
	return session
}

func drain(t *testing.T, s *Session) plugin.TraceDelta {
	t.Helper()
	d, err := s.Drain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d.TraceDelta
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runners)
}

func TestSessionMergesItsRunnersOnly(t *testing.T) {
	s := listen(t)
	before, other := connect(t, s, model), connect(t, s, "/models/blobs/sha256-def")
	session := start(t, s, model)
	after := connect(t, s, model)
	if !before.traced() || !after.traced() || other.traced() {
		t.Fatalf("traced: %v %v %v, want the model's runners alone", before.traced(), after.traced(), other.traced())
	}
	before.compute(3)
	other.compute(10)
	after.compute(4)
	d := drain(t, session)
	if d.All.Tokens != 7 || d.All.Angle[1] != 7 || d.Last.Norm[2] != 7 || d.Layers != 2 || d.Hidden != 4 || d.LeftOut != 7 {
		t.Errorf("drained %+v, want 7 of everything", d)
	}
	if d := drain(t, session); d.Layers != 0 || d.All.Tokens != 0 {
		t.Errorf("drained again %+v, want nothing", d)
	}
	session.Stop()
	if before.traced() || after.traced() {
		t.Error("runners trace after the session stopped")
	}
}

func TestOneSessionPerModel(t *testing.T) {
	s := listen(t)
	session := start(t, s, model)
	if _, err := s.Start(t.Context(), model, AllTokens); !errors.Is(err, ErrBusy) {
		t.Errorf("second session: %v, want ErrBusy", err)
	}
	start(t, s, "/models/blobs/sha256-def")
	session.Stop()
	start(t, s, model)
}

func TestModelIsMatchedThroughLinks(t *testing.T) {
	s := listen(t)
	dir := t.TempDir()
	file, link := filepath.Join(dir, "sha256-1"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	start(t, s, link)
	if !connect(t, s, file).traced() {
		t.Error("runner of the file is not traced by a session on a link to it")
	}
}

func TestRunnerGoneWhileDraining(t *testing.T) {
	s := listen(t)
	lives, dies := connect(t, s, model), connect(t, s, model)
	session := start(t, s, model)
	lives.compute(3)
	dies.compute(4)
	dies.set(func(f *fakeRunner) { f.die = true })
	if _, err := session.Drain(t.Context()); !errors.Is(err, ErrRunnerGone) {
		t.Fatalf("drain: %v, want ErrRunnerGone", err)
	}
	waitFor(t, "the runner to be forgotten", func() bool { return s.count() == 1 })
	lives.compute(2)
	d := drain(t, session)
	if d.All.Tokens != 5 {
		t.Errorf("%d tokens after the retry, want the survivor's 3+2", d.All.Tokens)
	}
	if want := []plugin.Fault{{Reason: lostSums, Graphs: 1}}; !slices.Equal(d.Faults, want) {
		t.Errorf("faults %v, want %v", d.Faults, want)
	}
}

func TestRunnerGoneBetweenDrains(t *testing.T) {
	s := listen(t)
	r := connect(t, s, model)
	session := start(t, s, model)
	r.compute(3)
	r.conn.Close()
	waitFor(t, "the runner to be forgotten", func() bool { return s.count() == 0 })
	d := drain(t, session)
	if want := []plugin.Fault{{Reason: lostSums, Graphs: 1}}; !slices.Equal(d.Faults, want) {
		t.Errorf("faults %v, want %v", d.Faults, want)
	}
}

func TestSilentRunnerIsDisconnected(t *testing.T) {
	s := listen(t)
	r := connect(t, s, model)
	session := start(t, s, model)
	r.set(func(f *fakeRunner) { f.mute = true })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := session.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drain: %v, want a deadline", err)
	}
	waitFor(t, "the runner to be forgotten", func() bool { return s.count() == 0 })
}

// TestCancelledDrainKeepsTheRunner cancels a drain while the runner computes. The
// runner stays, and the next session gets its own reply, not that one.
func TestCancelledDrainKeepsTheRunner(t *testing.T) {
	s := listen(t)
	r := connect(t, s, model)
	first, busy := start(t, s, model), make(chan struct{})
	r.compute(5)
	r.set(func(f *fakeRunner) { f.busy = busy })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := first.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("drain: %v, want a cancel", err)
	}
	close(busy)
	first.Stop()
	second := start(t, s, model)
	r.compute(3)
	if d := drain(t, second); d.All.Tokens != 3 || len(d.Faults) > 0 {
		t.Errorf("the next session has %d tokens, faults %v, want 3 and none", d.All.Tokens, d.Faults)
	}
}

func TestHostileMessages(t *testing.T) {
	bad := delta(2, 1)
	bad.All.Angle = bad.All.Angle[:1]
	huge := binary.BigEndian.AppendUint32(nil, 1<<31)
	for name, send := range map[string]func(net.Conn){
		"too long":      func(c net.Conn) { c.Write(huge) },
		"not JSON":      func(c net.Conn) { c.Write([]byte{0, 0, 0, 2, '{', '{'}) },
		"other version": func(c net.Conn) { wire.Write(c, wire.Hello{Version: wire.Version + 1}) },
	} {
		s := listen(t)
		conn, err := net.Dial("unix", s.Path())
		if err != nil {
			t.Fatal(err)
		}
		send(conn)
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		var c wire.Command
		if err := wire.Read(conn, &c); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: got command %v and error %v, want a closed connection", name, c, err)
		}
		conn.Close()
	}

	s := listen(t)
	r := connect(t, s, model)
	session := start(t, s, model)
	if err := session.merge(bad); err == nil {
		t.Error("sums of the wrong length were merged")
	}
	r.compute(1)
	drain(t, session)
	r.set(func(f *fakeRunner) { f.layers = 3 })
	other := connect(t, s, model)
	r.compute(1)
	other.compute(1)
	if _, err := session.Drain(t.Context()); err == nil {
		t.Error("runners that disagree about the model's layers were merged")
	}
}

func TestConcurrentUse(t *testing.T) {
	s := listen(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 20 {
				session, err := s.Start(t.Context(), model, AllTokens)
				if errors.Is(err, ErrBusy) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				session.Drain(t.Context())
				session.Stop()
			}
		})
	}
	runners := make([]*fakeRunner, 10)
	for i := range runners {
		runners[i] = connect(t, s, model)
		runners[i].compute(1)
	}
	group.Wait()
	for i, r := range runners {
		if r.traced() {
			t.Errorf("runner %d still traces after all sessions stopped", i)
		}
	}
	start(t, s, model)
	for i, r := range runners {
		if !r.traced() {
			t.Errorf("runner %d is not traced by the new session", i)
		}
	}
}

func TestSocketIsPrivate(t *testing.T) {
	s := listen(t)
	for path, want := range map[string]os.FileMode{s.Path(): 0o600, filepath.Dir(s.Path()): 0o700} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestServerCloseFreesRunners(t *testing.T) {
	s := listen(t)
	r := connect(t, s, model)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the runner to notice", func() bool {
		_, err := r.conn.Write(nil)
		return errors.Is(err, net.ErrClosed)
	})
}
