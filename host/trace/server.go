// Package trace is the server's side of the tap: it accepts the runners that
// connect, and switches tracing on and off for the model of a [Session].
package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pare/host/trace/wire"
)

var (
	// ErrBusy means that another job traces the model, or that it is watched already.
	// Sums belong to one session: wait until it stops.
	ErrBusy = errors.New("model is being traced by another job")

	// ErrRunnerGone means that a runner ended before it gave its sums, which are
	// lost. What other runners gave is kept for the next call: drain again.
	ErrRunnerGone = errors.New("model runner ended while tracing")
)

// greeting is how long a runner may take to introduce itself and to carry out
// its first command.
const greeting = 2 * time.Second

// A Server listens for runners on a socket that only this user can open.
type Server struct {
	listener net.Listener
	path     string

	mu       sync.Mutex
	runners  map[*runner]bool
	taps     map[string]*taps    // by model path
	sessions map[uint64]*Session // by ID, until they are stopped
	last     uint64              // ID given
	arrived  func(Runner)
}

// A Runner is a process that runs a model.
type Runner struct {
	Model string // path of the GGUF, as its command line has it
	Port  int    // on which it takes requests; 0 if unknown
}

// Listen makes the folder dir, which only this user can enter, if it does not
// exist, and listens on a socket in it. Remove what Listen made with
// [Server.Close]; the folder stays.
func Listen(dir string) (*Server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create trace folder: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("protect trace folder: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("tap-%d.sock", os.Getpid()))
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for runners (a socket's path may have about 100 characters, choose a shorter folder): %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect trace socket: %w", err)
	}
	s := &Server{
		listener: l,
		path:     path,
		runners:  make(map[*runner]bool),
		taps:     make(map[string]*taps),
		sessions: make(map[uint64]*Session),
		arrived:  func(Runner) {},
	}
	go s.accept()
	return s, nil
}

// Path is the value of [wire.SocketEnv] for runners.
func (s *Server) Path() string { return s.path }

// OnArrival has each called for every runner that connects, before the runner loads
// its model and is told whether to trace. Call it before any runner is started.
func (s *Server) OnArrival(each func(Runner)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrived = each
}

// Close disconnects all runners, which go on untraced.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.runners {
		r.conn.Close()
	}
	return err
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			slog.Warn("accept runner", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go func() {
			if err := s.welcome(conn.(*net.UnixConn)); err != nil {
				conn.Close()
				slog.Warn("runner will not be traced", "error", err)
			}
		}()
	}
}

// welcome takes in a runner and tells it whether to trace.
func (s *Server) welcome(conn *net.UnixConn) error {
	if err := checkPeer(conn); err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(greeting))
	var hello wire.Hello
	if err := wire.Read(conn, &hello); err != nil {
		return err
	}
	if hello.Version != wire.Version {
		return fmt.Errorf("greet runner %d: it speaks version %d, not %d: restart the server", hello.PID, hello.Version, wire.Version)
	}
	s.mu.Lock()
	arrived := s.arrived
	s.mu.Unlock()
	arrived(Runner{Model: hello.Model, Port: hello.Port})

	r := newRunner(conn, modelKey(hello.Model), s.deliver)
	// The runner is locked until it has its first command, so that a session
	// that starts now commands it afterwards.
	<-r.turn
	s.mu.Lock()
	s.runners[r] = true
	var holder *Session
	if t := s.taps[r.model]; t != nil {
		holder = t.holder()
	}
	s.mu.Unlock()
	go func() {
		<-r.gone
		s.forget(r)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), greeting)
	defer cancel()
	err := r.exchange(ctx, first(holder))
	r.turn <- struct{}{}
	if err != nil {
		return fmt.Errorf("greet runner %d: %w", hello.PID, err)
	}
	slog.Debug("runner connected", "pid", hello.PID, "model", hello.Model, "traced", holder != nil)
	return nil
}

// deliver gives the sums of a reply to the session they were measured for.
func (s *Server) deliver(r wire.Reply) {
	s.mu.Lock()
	session := s.sessions[r.Session]
	s.mu.Unlock()
	if session != nil {
		session.deliver(r)
	}
}

// forget removes a runner that is gone. A session that had it traced is told,
// for sums may be lost.
func (s *Server) forget(r *runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runners, r)
	if t := s.taps[r.model]; t != nil && t.holder() != nil {
		t.holder().lose(r)
	}
}

// of returns the connected runners of a model. s.mu must be held.
func (s *Server) of(model string) []*runner {
	var rs []*runner
	for r := range s.runners {
		if r.model == model {
			rs = append(rs, r)
		}
	}
	return rs
}

// modelKey is a model's path in the one form by which runners and sessions are
// matched.
func modelKey(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}
