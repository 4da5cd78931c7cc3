package tap

// #include "tap.h"
import "C"

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	budget int // bytes the residuals of a pass may take
}

// greet introduces this runner and carries out the server's first command.
func (s *service) greet(model string) error {
	s.conn.SetDeadline(time.Now().Add(greeting))
	defer s.conn.SetDeadline(time.Time{})
	hello := wire.Hello{Version: wire.Version, PID: os.Getpid(), Model: model}
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
	case wire.Start, wire.Prompts:
		C.tap_start(C.int(s.layers), C.size_t(s.budget), C.bool(c.Op == wire.Prompts))
	case wire.Stop:
		C.tap_stop()
	case wire.Drain:
		r.Delta = harvest()
	default:
		r.Error = fmt.Sprintf("unknown command %q", c.Op)
	}
	return wire.Write(s.conn, r)
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
