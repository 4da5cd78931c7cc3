package trace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"pare/host/trace/wire"
)

// A runner is a connected model runner. It takes one command at a time.
type runner struct {
	conn  net.Conn
	model string // key

	turn    chan struct{}   // holds one token: whoever takes it may command
	replies chan wire.Reply // what the runner said

	leave sync.Once
	gone  chan struct{} // closed when the connection is
}

// newRunner starts reading from a runner that has introduced itself. Reading
// goes on between commands, so that its end is noticed at once.
func newRunner(conn net.Conn, model string) *runner {
	r := &runner{
		conn:    conn,
		model:   model,
		turn:    make(chan struct{}, 1),
		replies: make(chan wire.Reply, 1),
		gone:    make(chan struct{}),
	}
	r.turn <- struct{}{}
	conn.SetDeadline(time.Time{})
	go r.read()
	return r
}

func (r *runner) read() {
	defer r.quit()
	for {
		var reply wire.Reply
		if err := wire.Read(r.conn, &reply); err != nil {
			return
		}
		select {
		case r.replies <- reply:
		default:
			return // it speaks without being asked
		}
	}
}

func (r *runner) quit() {
	r.leave.Do(func() {
		r.conn.Close()
		close(r.gone)
	})
}

// call sends a command and waits for its turn and for the reply. If ctx is
// cancelled in between, the next one's turn comes after that reply, which is lost.
func (r *runner) call(ctx context.Context, op wire.Op) (wire.Reply, error) {
	select {
	case <-r.turn:
	case <-r.gone:
		return wire.Reply{}, ErrRunnerGone
	case <-ctx.Done():
		return wire.Reply{}, fmt.Errorf("%s runner: %w", op, ctx.Err())
	}
	reply, err := r.exchange(ctx, op)
	if errors.Is(err, context.Canceled) {
		go r.settle()
		return reply, err
	}
	r.turn <- struct{}{}
	return reply, err
}

// patience is how long a runner may compute before it answers.
const patience = time.Minute

// settle waits for a reply that nobody wants any more, and ends the turn.
func (r *runner) settle() {
	select {
	case <-r.replies:
	case <-r.gone:
	case <-time.After(patience):
		r.quit()
	}
	r.turn <- struct{}{}
}

// exchange is call for who has the turn. A runner that does not answer in time
// is disconnected: its next reply would be taken for that to another command.
// After a cancel the caller has to wait for it.
func (r *runner) exchange(ctx context.Context, op wire.Op) (wire.Reply, error) {
	if deadline, ok := ctx.Deadline(); ok {
		r.conn.SetWriteDeadline(deadline)
		defer r.conn.SetWriteDeadline(time.Time{})
	}
	if err := wire.Write(r.conn, wire.Command{Op: op}); err != nil {
		r.quit()
		return wire.Reply{}, ErrRunnerGone
	}
	select {
	case reply := <-r.replies:
		if reply.Error != "" {
			return reply, fmt.Errorf("%s runner: %s", op, reply.Error)
		}
		return reply, nil
	case <-r.gone:
		return wire.Reply{}, ErrRunnerGone
	case <-ctx.Done():
		if !errors.Is(ctx.Err(), context.Canceled) {
			r.quit()
		}
		return wire.Reply{}, fmt.Errorf("%s runner: %w", op, ctx.Err())
	}
}
