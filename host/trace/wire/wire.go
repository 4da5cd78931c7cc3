// Package wire is what a runner and the server say to each other about tracing,
// over a local socket: length-prefixed JSON, one reply to each command.
//
// The runner speaks first, with a [Hello]. The server answers with its first
// [Command], and the runner loads no model before it has carried that out.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"pare/plugin"
)

// Version changes whenever a message changes its meaning. Server and runner are
// the same binary, so any difference is a mistake.
const Version = 2

// SocketEnv names the environment variable that tells a runner where the
// server listens.
const SocketEnv = "PARE_TAP_SOCKET"

// maxMessage bounds a message in bytes. The sums of a model with 300 layers fit.
const maxMessage = 32 << 20

// Hello introduces a runner.
type Hello struct {
	Version int
	PID     int
	Model   string // path of the GGUF
	Port    int    // on which it takes requests
}

// Op is what a command asks for.
type Op string

const (
	Start Op = "start" // trace for another session, with empty sums
	Stop  Op = "stop"  // do not trace
	Drain Op = "drain" // send the sums since the last drain, and begin anew
)

// Command is what the server asks of a runner. How to trace goes with [Start].
type Command struct {
	Op      Op
	Session uint64  // the one that begins, or whose sums are wanted
	Prompts bool    `json:",omitempty"` // leave out the tokens that the model makes
	Share   float64 `json:",omitempty"` // of the forward passes to measure, drawn by lot; 0 is all
	Budget  int     `json:",omitempty"` // bytes that the residuals of a pass may take; 0 is the runner's own limit
}

// Reply is a runner's answer to a command. What was measured comes with the
// reply to a [Drain] of that session, and to the command that ends it.
type Reply struct {
	Error   string             `json:",omitempty"`
	Session uint64             `json:",omitempty"` // whose sums these are
	Delta   *plugin.TraceDelta `json:",omitempty"` // its Layers are zero, and its sums empty, if nothing was traced
	Skipped int64              `json:",omitempty"` // tokens of the passes that the lot left out
}

// Write sends a message.
func Write(w io.Writer, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode tap message: %w", err)
	}
	if len(body) > maxMessage {
		return fmt.Errorf("send tap message: %d bytes, at most %d allowed", len(body), maxMessage)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	if _, err := w.Write(append(frame, body...)); err != nil {
		return fmt.Errorf("send tap message: %w", err)
	}
	return nil
}

// Read receives a message.
func Read(r io.Reader, message any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return fmt.Errorf("receive tap message: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxMessage {
		return fmt.Errorf("receive tap message: %d bytes, at most %d allowed", n, maxMessage)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("receive tap message: %w", err)
	}
	if err := json.Unmarshal(body, message); err != nil {
		return fmt.Errorf("decode tap message: %w", err)
	}
	return nil
}
