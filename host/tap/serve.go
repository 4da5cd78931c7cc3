package tap

// #include "tap.h"
import "C"

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"pare/host/trace/wire"
)

// budget bounds the residuals kept of one pass, in bytes. 512 tokens of a model
// with 48 layers 5120 wide fit.
const budget = 512 << 20

// A service carries out the server's commands, one after another.
type service struct {
	conn   net.Conn
	layers int // the most a pass can have
	budget int // bytes the residuals of a pass may take at most

	session uint64 // of the server that traces; 0 for none
}

// greet introduces this runner, which takes requests on a port, and carries out the
// server's first command.
func (s *service) greet(model string, port int) error {
	s.conn.SetDeadline(time.Now().Add(greeting))
	defer s.conn.SetDeadline(time.Time{})
	hello := wire.Hello{Version: wire.Version, PID: os.Getpid(), Model: model, Port: port}
	if err := wire.Write(s.conn, hello); err != nil {
		return fmt.Errorf("greet trace server: %w", err)
	}
	return s.answer()
}

// answer reads one command, carries it out and replies.
func (s *service) answer() error {
	var c wire.Command
	if err := wire.Read(s.conn, &c); err != nil {
		return err
	}
	var r wire.Reply
	switch c.Op {
	case wire.Start:
		r = s.harvest()
		s.start(c)
	case wire.Stop:
		C.tap_stop() // the pass that is under way still counts
		r = s.harvest()
		s.session = 0
	case wire.Drain:
		if c.Session == s.session {
			r = s.harvest()
		}
	default:
		r.Error = fmt.Sprintf("unknown command %q", c.Op)
	}
	return wire.Write(s.conn, r)
}

// start traces for another session.
func (s *service) start(c wire.Command) {
	share, budget := c.Share, s.budget
	if share <= 0 || share > 1 {
		share = 1
	}
	if c.Budget > 0 {
		budget = min(budget, c.Budget)
	}
	C.tap_start(C.int(s.layers), C.size_t(budget), C.bool(c.Prompts), C.double(share), C.uint64_t(rand.Uint64()))
	s.session = c.Session
}

// harvest takes what the session that traces has measured since the last call.
func (s *service) harvest() (r wire.Reply) {
	if s.session == 0 {
		return r
	}
	r.Session = s.session
	r.Delta, r.Skipped = harvest()
	return r
}

// serve answers until the server closes the connection. Then tracing ends.
func (s *service) serve() {
	var err error
	for err == nil {
		err = s.answer()
	}
	C.tap_stop()
	s.conn.Close()
	if !errors.Is(err, io.EOF) {
		slog.Warn("tracing ended", "error", err)
	}
}

// exitWithServer ends this process soon after the server that started it is
// gone: nobody could ever reach or stop it.
func exitWithServer(server int) {
	for os.Getppid() == server {
		time.Sleep(time.Second)
	}
	slog.Info("server is gone, runner exits")
	os.Exit(0)
}
