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
	conn    net.Conn
	model   string           // key
	deliver func(wire.Reply) // takes the sums of any reply, also of one that nobody waits for any more

	turn    chan struct{}   // holds one token: whoever takes it may command
	replies chan wire.Reply // what the runner said

	leave sync.Once
	gone  chan struct{} // closed when the connection is
}

// newRunner starts reading from a runner that has introduced itself. Reading
// goes on between commands, so that its end is noticed at once.
func newRunner(conn net.Conn, model string, deliver func(wire.Reply)) *runner {
	r := &runner{
		conn:    conn,
		model:   model,
		deliver: deliver,
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

// call waits for its turn, sends a command and delivers the reply. If ctx is
// cancelled in between, the next one's turn comes after that reply.
func (r *runner) call(ctx context.Context, c wire.Command) error {
	select {
	case <-r.turn:
	case <-r.gone:
		return ErrRunnerGone
	case <-ctx.Done():
		return fmt.Errorf("%s runner: %w", c.Op, ctx.Err())
	}
	err := r.exchange(ctx, c)
	if errors.Is(err, context.Canceled) {
		go r.settle()
		return err
	}
	r.turn <- struct{}{}
	return err
}

// patience is how long a runner may compute before it answers: a batch of a large model
// takes minutes on a CPU, and who is disconnected is not traced again until it is loaded
// anew.
const patience = 10 * time.Minute

// settle waits for a reply that nobody waits for any more, and ends the turn.
func (r *runner) settle() {
	select {
	case reply := <-r.replies:
		r.deliver(reply)
	case <-r.gone:
	case <-time.After(patience):
		r.quit()
	}
	r.turn <- struct{}{}
}

// exchange is call for who has the turn. A runner that does not answer in time
// is disconnected: its next reply would be taken for that to another command.
// After a cancel the caller has to wait for it.
func (r *runner) exchange(ctx context.Context, c wire.Command) error {
	if deadline, ok := ctx.Deadline(); ok {
		r.conn.SetWriteDeadline(deadline)
		defer r.conn.SetWriteDeadline(time.Time{})
	}
	if err := wire.Write(r.conn, c); err != nil {
		r.quit()
		return ErrRunnerGone
	}
	select {
	case reply := <-r.replies:
		if reply.Error != "" {
			return fmt.Errorf("%s runner: %s", c.Op, reply.Error)
		}
		r.deliver(reply)
		return nil
	case <-r.gone:
		return ErrRunnerGone
	case <-ctx.Done():
		if !errors.Is(ctx.Err(), context.Canceled) {
			r.quit()
		}
		return fmt.Errorf("%s runner: %w", c.Op, ctx.Err())
	}
}
