// Package tap measures, inside a model runner, how much each layer changes the
// residual stream, while the model serves as usual.
//
// It puts a function of its own in front of the one that computes a graph, in
// every ggml backend. While nobody traces, that costs one comparison a graph.
// While somebody does, the same nodes are computed in the same order, with a copy
// added behind each residual, and the copies are measured afterwards:
//
//	tap.c       the function, and how it gets there
//	residual.c  where in a graph the residuals are
//	shelf.c     the copies
//	pass.c      the residuals of one forward pass, and the sums
//	fold.c      all tokens of a pass, on several threads
//	gram.c      the arithmetic, for one token
//
// Only sums leave the process. See [plugin.TraceDelta] for what they mean.
//
// In the scoring process, which serves nobody, the same function can leave layers
// out of a graph (bypass.c), to show what a model would be without them, or hand the
// residuals themselves to the process (observe.c), for others to be trained by.
package tap

// #cgo CFLAGS: -O3
// #cgo LDFLAGS: -lm -lpthread
// #include "tap.h"
import "C"

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ollama/ollama/fs/gguf"
	ggml "github.com/ollama/ollama/ml/backend/ggml/ggml/src"

	"pare/host/trace/wire"
)

// greeting is how long the server may take to send its first command. A runner
// that gets none serves untraced.
const greeting = 2 * time.Second

// Install hooks every device and connects to the server named by the
// environment (see [wire.SocketEnv]). It must be called before Ollama's runner
// starts; when it returns, tracing is on if the server wants it on.
//
// Without a server to connect to, or a model on the command line, it does
// nothing. An error means that this runner will not be traced; it can serve all
// the same. It ends by itself when the server is gone.
func Install() error {
	path := os.Getenv(wire.SocketEnv)
	model := flagArg(os.Args, "model")
	if path == "" || model == "" {
		return nil
	}
	go exitWithServer(os.Getppid())
	port, _ := strconv.Atoi(flagArg(os.Args, "port")) // without it, its requests are not counted
	layers, err := countLayers(model)
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("unix", path, greeting)
	if err != nil {
		return fmt.Errorf("connect to trace server: %w", err)
	}
	s := &service{conn: conn, layers: layers, budget: budget}
	err = hook()
	if err == nil {
		err = s.greet(model, port)
	}
	if err != nil {
		conn.Close()
		return err
	}
	go s.serve()
	return nil
}

// hook puts the tap in front of every device.
func hook() error {
	ggml.OnceLoad()
	if C.tap_install() == 0 {
		return errors.New("hook devices: ggml has none")
	}
	return nil
}

// flagArg returns the value of one of the runner's flags, or "".
func flagArg(args []string, flag string) string {
	for i, arg := range args {
		name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case name != flag || !strings.HasPrefix(arg, "-"):
		case joined:
			return value
		case i+1 < len(args):
			return args[i+1]
		}
	}
	return ""
}

// countLayers returns the most layers that a pass through a model can have.
func countLayers(model string) (int, error) {
	f, err := gguf.Open(model)
	if err != nil {
		return 0, fmt.Errorf("read layer count of %s: %w", model, err)
	}
	defer f.Close()
	n := f.KeyValue("block_count").Uint()
	if n < 1 || n >= C.MAX_LAYERS {
		return 0, fmt.Errorf("read layer count of %s: %d layers, at most %d can be traced", model, n, C.MAX_LAYERS-1)
	}
	return int(n), nil
}
