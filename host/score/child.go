package score

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"pare/plugin"
)

// Verb is the argument that makes the executable a scoring process.
const Verb = "scorer"

// patience is how long a process may take to stop what it does, or to end.
const patience = 5 * time.Second

// ErrEnded says that the process ended while it worked. The next request starts
// another.
var ErrEnded = errors.New("the scoring process ended")

// A child is a running scoring process. It answers one request at a time.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *os.File
	words words
	ended chan struct{} // closed when the process is no more; then failed is set
	fault error         // that the process ended with

	mu     sync.Mutex // sending
	encode *gob.Encoder
	decode *gob.Decoder
	last   uint64 // ID given to a request
}

// start runs the executable as a scoring process.
func start(executable string, log *slog.Logger) (*child, error) {
	cmd := exec.Command(executable, Verb)
	cmd.Env = environment()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the scoring process: %w", err)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start the scoring process: %w", err)
	}
	out, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the scoring process: %w", err)
	}
	defer theirs.Close()
	cmd.Stdout = theirs
	if err := cmd.Start(); err != nil {
		out.Close()
		return nil, plugin.Errorf(plugin.Unavailable, "start the scoring process: %w", err)
	}
	c := &child{cmd: cmd, in: in, out: out, ended: make(chan struct{}), encode: gob.NewEncoder(in), decode: gob.NewDecoder(out)}
	log.Info("scoring process started", "pid", cmd.Process.Pid)
	go func() {
		c.words.follow(said, log)
		c.fault = cmd.Wait()
		log.Info("scoring process ended", "pid", cmd.Process.Pid, "error", c.fault)
		close(c.ended)
	}()
	return c, nil
}

// ask sends a request and calls each with the replies before the last. When ctx
// ends, or each fails, the process is told to stop, and killed if it does not.
func (c *child) ask(ctx context.Context, r Request, each func(Reply) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.last++
	r.ID = c.last
	answered := make(chan struct{})
	defer close(answered)
	defer context.AfterFunc(ctx, func() { c.cancel(r.ID, answered) })()
	if err := c.send(r); err != nil {
		return c.lost(ctx, err)
	}
	for {
		var reply Reply
		if err := c.decode.Decode(&reply); err != nil {
			return c.lost(ctx, err)
		}
		switch {
		case reply.Done && ctx.Err() != nil:
			return context.Cause(ctx)
		case reply.Done && reply.Failure != nil:
			return reply.Failure.err()
		case reply.Done:
			return nil
		case ctx.Err() == nil:
			if err := each(reply); err != nil {
				cancel(err)
			}
		}
	}
}

func (c *child) send(r Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.encode.Encode(r)
}

// cancel tells the process to stop a request, and kills it if that is not soon
// answered. It has returned some time after answered is closed.
func (c *child) cancel(id uint64, answered <-chan struct{}) {
	select {
	case <-answered:
		return
	default:
	}
	go c.send(Request{ID: id, Cancel: true}) // a process that does not read keeps it waiting until it is killed
	select {
	case <-answered:
	case <-c.ended:
	case <-time.After(patience):
		c.cmd.Process.Kill()
	}
}

// lost makes sure of the end of a process that can no longer be talked to, and
// tells why that is.
func (c *child) lost(ctx context.Context, err error) error {
	select {
	case <-c.ended: // it says more than a broken pipe
	case <-time.After(time.Second):
	}
	c.cmd.Process.Kill()
	<-c.ended
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.fault != nil {
		err = c.fault
	}
	said := c.words.String()
	if said == "" {
		said = "it said nothing"
	}
	return plugin.Errorf(plugin.Unavailable, "%w: %w: %s", ErrEnded, err, said)
}

// exited reports whether the process is no more.
func (c *child) exited() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// stop ends the process, gently first.
func (c *child) stop() {
	c.in.Close()
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.cmd.Process.Kill()
		<-c.ended
	}
	c.out.Close()
}
