package main

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ollama/ollama/envconfig"
	"github.com/ollama/ollama/logutil"
	"github.com/spf13/cobra"

	"pare/host/score"
	"pare/host/score/engine"
	"pare/plugin/background"
)

// newScorer is the scoring process, which the server starts. It is not for people.
func newScorer() *cobra.Command {
	return &cobra.Command{
		Use:    score.Verb,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			c.SilenceUsage = true
			slog.SetDefault(logutil.NewLogger(os.Stderr, envconfig.LogLevel()))
			if err := background.GiveWay(); err != nil {
				slog.Warn("requests may wait for this process", "error", err)
			}
			// It ends with the server, not before: Ctrl-C reaches both.
			signal.Ignore(os.Interrupt, syscall.SIGTERM)
			out, err := engine.TakeStdout()
			if err != nil {
				return err
			}
			return engine.Serve(c.Context(), lastCall{os.Stdin}, out)
		},
	}
}

// A lastCall is the server's end of the pipe. When it is closed the process ends
// soon, even in the middle of a batch.
type lastCall struct{ io.Reader }

func (l lastCall) Read(b []byte) (int, error) {
	n, err := l.Reader.Read(b)
	if err != nil {
		time.AfterFunc(3*time.Second, func() { os.Exit(1) })
	}
	return n, err
}
