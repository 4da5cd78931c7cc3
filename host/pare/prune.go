package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pare/host/client"
	"pare/plugin"
	"pare/plugin/layers"
)

func newPrune() *cobra.Command {
	var flags selectionFlags
	var judge judgeFlags
	var dryRun, force, asJSON bool
	var output string
	c := &cobra.Command{
		Use:   "prune MODEL NAME --drop HOW-MUCH",
		Short: "Make a smaller model by removing the layers that matter least",
		Long: `Make a smaller model by removing the layers that matter least.

MODEL is watched at work on some text and run without the layers that change its
hidden states least; those that cost least are removed, what that costs is
measured, and the result is stored as NAME beside MODEL, which stays as it is.
Ctrl-C stops the job; the same command goes on with it.`,
		Example: `  pare prune smollm2 smollm2-small --drop 20%
  pare prune llama3.1 llama3.1-24 --drop 8 --criterion cumulative
  pare prune llama3.1 --drop 25% --dry-run`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := flags.request(args[0])
			if err != nil {
				return err
			}
			r.DryRun, r.Force = dryRun, force
			e, err := judge.request()
			if err != nil {
				return err
			}
			r.Evaluate = &e
			if err := checkOutput(output); err != nil {
				return err
			}
			switch {
			case len(args) == 2:
				r.Name = args[1]
			case !dryRun:
				return errors.New("give a NAME for the smaller model, or --dry-run to see the plan alone")
			}
			if flags.drop == "" {
				return errors.New("say how much to remove: --drop 25%, --drop 8 (layers), or --drop 20-27")
			}
			return follow(c, asJSON, output, func(ctx context.Context, each func(client.Progress)) (client.Progress, error) {
				made, err := client.FromEnvironment().Prune(ctx, r, each)
				return client.Progress{Job: made.Job, Report: &made}, err
			})
		},
	}
	flags.register(c)
	c.Flags().BoolVar(&dryRun, "dry-run", false, "stop at the plan; write no model")
	c.Flags().BoolVar(&force, "force", false, "replace a model called NAME")
	judge.register(c, "evaluate", "quick")
	registerOutput(c, &output, &asJSON)
	return c
}

// explain words the errors of following a job.
func explain(ctx context.Context, f follower, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = errors.New("stopped; the same command goes on from here")
	} else if errors.Is(err, client.ErrLost) {
		err = fmt.Errorf("%w; start `pare serve` again and repeat the command: it goes on from here", err)
	}
	if j, ok := f.(*jsonFollower); ok {
		return j.fail(err)
	}
	return err
}

// printAlternatives tells what else there was, and how sure the plan is.
func printAlternatives(w io.Writer, p plugin.Plan) {
	for i, a := range p.Alternatives {
		if p.Criterion == "deepest" {
			break // it measures nothing
		}
		if i == 0 {
			fmt.Fprintln(w, "next best:")
		}
		fmt.Fprintf(w, "  %-12s %.4f (%.4f-%.4f)\n", layers.Format(a.Remove), a.Score, a.Low, a.High)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}
