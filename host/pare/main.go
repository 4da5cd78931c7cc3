// Pare is ollama with a few verbs more: prune, repair, profile, trace, try, eval,
// sweep, merge and jobs.
// Every other verb is Ollama's own, unchanged.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/ollama/ollama/cmd"
	"github.com/ollama/ollama/envconfig"
	"github.com/ollama/ollama/logutil"
	"github.com/spf13/cobra"

	"pare/host"
	"pare/host/live"
	"pare/host/tap"
)

// version is set by the Makefile when linking.
var version = "dev"

func main() {
	root := newRoot()
	if err := root.ExecuteContext(context.Background()); err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "Error:", err)
		}
		os.Exit(1)
	}
}

// newRoot is ollama's command with our verbs added and two of its own taught
// something: the server serves our routes too, and the runner has the tap.
func newRoot() *cobra.Command {
	root := cmd.NewCLI()
	root.Use = "pare"
	root.Short = "Large language model runner that can make its models smaller"
	for _, c := range root.Commands() {
		switch c.Name() {
		case "serve":
			var traced share
			c.Flags().Var(&traced, "trace", "measure what models do with this share of their work, such as =5%, for pare prune --corpus live; not models that pare trace --off was said of")
			usual := share(live.DefaultShare)
			c.Flags().Lookup("trace").NoOptDefVal = usual.String()
			c.Args = shareBehindEquals(c.Args)
			c.RunE = serve(c.RunE, &traced)
		case "runner":
			c.RunE = tapped(c.RunE)
		}
	}
	root.Run = withVersion(root.Run)
	root.AddCommand(newPrune(), newRepair(), newProfile(), newEval(), newSweep(), newMerge(), newTry(), newTrace(), newJobs(), newScorer())
	return root
}

// shareBehindEquals tells whoever writes --trace 5% that the share goes behind =.
func shareBehindEquals(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if c.Flags().Changed("trace") && len(args) == 1 && new(share).Set(args[0]) == nil {
			return fmt.Errorf("write --trace=%s", args[0])
		}
		return check(c, args)
	}
}

type runE func(*cobra.Command, []string) error

// serve runs Ollama's server with Pare's routes and jobs beside it.
func serve(ollama runE, traced *share) runE {
	return func(c *cobra.Command, args []string) error {
		slog.SetDefault(logutil.NewLogger(os.Stderr, envconfig.LogLevel()))
		s, err := host.Start(slog.Default(), float64(*traced))
		if err != nil {
			return fmt.Errorf("start Pare: %w", err)
		}
		defer s.Close()
		return ollama(c, args)
	}
}

// tapped runs Ollama's runner with the tap in place. A tap that cannot be put
// there costs the trace, never the inference.
func tapped(ollama runE) runE {
	return func(c *cobra.Command, args []string) error {
		if err := tap.Install(); err != nil {
			slog.Warn("this runner cannot be traced", "error", err)
		}
		return ollama(c, args)
	}
}

func withVersion(ollama func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	return func(c *cobra.Command, args []string) {
		if v, _ := c.Flags().GetBool("version"); v {
			fmt.Printf("pare version is %s\n", version)
		}
		ollama(c, args)
	}
}

// interruptible ends the command's context at Ctrl-C, so that the server is told
// to stop the job and not just cut off.
func interruptible(c *cobra.Command) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
}
