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
	var p pruning
	c := &cobra.Command{
		Use:   "prune MODEL NAME --drop HOW-MUCH",
		Short: "Make a smaller model by removing the layers that matter least",
		Long: `Make a smaller model by removing the layers that matter least.

MODEL is watched at work on some text and run without the layers that change its
hidden states least; those that cost least are removed, what is left is repaired
and judged, and the result is stored as NAME beside MODEL, which stays as it is.
Ctrl-C stops the job; the same command goes on with it.`,
		Example: `  pare prune smollm2 smollm2-small --drop 20%
  pare prune smollm2 smollm2-cut --drop 20% --repair none
  pare prune llama3.1 llama3.1-24 --drop 8 --criterion cumulative
  pare prune llama3.1 --drop 25% --dry-run`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := p.request(args)
			if err != nil {
				return err
			}
			return follow(c, p.asJSON, p.output, func(ctx context.Context, each func(client.Progress)) (client.Progress, error) {
				return prune(ctx, r, each)
			})
		},
	}
	p.selection.register(c)
	c.Flags().BoolVar(&p.dryRun, "dry-run", false, "stop at the plan; write no model")
	c.Flags().BoolVar(&p.force, "force", false, "replace a model called NAME")
	p.judge.register(c, "evaluate", "quick")
	registerOutput(c, &p.output, &p.asJSON)
	p.repair.register(c, "repair", "repair-")
	return c
}

// pruning is what the flags of `pare prune` say.
type pruning struct {
	selection     selectionFlags
	judge         judgeFlags
	repair        repairFlags
	dryRun, force bool
	asJSON        bool
	output        string
}

// request turns the flags into the API's words, and refuses what they lack before
// anything is sent.
func (p *pruning) request(args []string) (client.PruneRequest, error) {
	r, err := p.selection.request(args[0])
	if err != nil {
		return r, err
	}
	r.DryRun, r.Force = p.dryRun, p.force
	e, err := p.judge.request()
	if err != nil {
		return r, err
	}
	r.Evaluate = &e
	if r.Repair, err = p.repair.request(); err != nil {
		return r, err
	}
	if err := checkOutput(p.output); err != nil {
		return r, err
	}
	switch {
	case len(args) == 2:
		r.Name = args[1]
	case !p.dryRun:
		return r, errors.New("give a NAME for the smaller model, or --dry-run to see the plan alone")
	}
	if p.selection.drop == "" {
		return r, errors.New("say how much to remove: --drop 25%, --drop 8 (layers), or --drop 20-27")
	}
	return r, nil
}

// prune runs a job that makes a model.
func prune(ctx context.Context, r client.PruneRequest, each func(client.Progress)) (client.Progress, error) {
	made, err := client.FromEnvironment().Prune(ctx, r, each)
	return client.Progress{Job: made.Job, Report: &made}, err
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
		fmt.Fprintf(w, "  %-12s %.4f", layers.Format(a.Remove), a.Score)
		if a.Drawn() {
			fmt.Fprintf(w, " (%.4f-%.4f)", a.Low, a.High)
		}
		fmt.Fprintln(w)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}
