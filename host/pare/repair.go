package main

import (
	"cmp"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"pare/host/client"
	"pare/plugin"
	"pare/plugin/layers"
)

func newRepair() *cobra.Command {
	var r repairing
	c := &cobra.Command{
		Use:   "repair MODEL NAME",
		Short: "Repair a model that was cut, or compare ways to do so",
		Long: `Repair a model that was cut, or compare ways to do so.

MODEL is one that Pare cut from another in the store. The same layers are cut
from that one again, what is left is stored in the types that MODEL has and
repaired, and the result is called NAME. Ctrl-C stops the job; the same command
goes on with it.

With --compare, ways to repair are tried one after another on the same layers,
text and seed, and told in one table. MODEL may then also be a whole model, with
--drop for what to remove. Without a NAME no model is kept; with one, each is
called NAME and how it was repaired.`,
		Example: `  pare repair smollm2-cut smollm2-small
  pare repair smollm2-cut smollm2-small --method qlora --steps 300
  pare repair smollm2 --drop 20% --compare -o table.md`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error { return r.run(c, args) },
	}
	f := c.Flags()
	f.BoolVar(&r.compare, "compare", false, "try ways to repair one after another")
	f.StringVar(&r.drop, "drop", "", "with --compare: how much of MODEL to remove, a share (25%), a number of layers (8), or the layers (20-27)")
	f.BoolVar(&r.force, "force", false, "replace a model called NAME")
	r.judge.register(c, "evaluate", "quick")
	registerOutput(c, &r.output, &r.asJSON)
	r.flags.register(c, "method", "")
	return c
}

// repairing is what the flags of `pare repair` say.
type repairing struct {
	flags          repairFlags
	judge          judgeFlags
	drop, output   string
	compare, force bool
	asJSON         bool
}

func (r *repairing) run(c *cobra.Command, args []string) error {
	if err := r.check(args); err != nil {
		return err
	}
	repair, err := r.flags.request()
	if err != nil {
		return err
	}
	e, err := r.judge.request()
	if err != nil {
		return err
	}
	request := client.PruneRequest{Force: r.force, Evaluate: &e, Repair: repair}
	if len(args) == 2 {
		request.Name = args[1]
	}
	if r.compare {
		return r.compareAll(c, args[0], request)
	}
	return follow(c, r.asJSON, r.output, func(ctx context.Context, each func(client.Progress)) (client.Progress, error) {
		o, err := client.FromEnvironment().Origin(ctx, args[0])
		if err != nil {
			return client.Progress{}, err
		}
		request.Model, request.Range, request.Repair = o.Parent, o.Removed, asked(repair, o)
		return prune(ctx, request, each)
	})
}

// asked is what a repair that was asked for by name takes where nothing is said: it is refused
// where it is not possible, and stores the model in the types that it had.
func asked(said *client.Repair, o client.Origin) *client.Repair {
	var r client.Repair
	if said != nil {
		r = *said
	}
	r.Method = cmp.Or(r.Method, plugin.RepairLinearQLoRA)
	r.Quantize = cmp.Or(r.Quantize, o.Quantize)
	return &r
}

// check refuses flags that do not go together.
func (r *repairing) check(args []string) error {
	switch {
	case r.compare && r.flags.settings.Method != "":
		return errors.New("--compare tries every method; leave --method out")
	case r.compare && r.judge.level == plugin.LevelNone:
		return errors.New("--compare measures something; give --evaluate quick or full")
	case !r.compare && r.drop != "":
		return errors.New("--drop goes with --compare; `pare prune MODEL NAME --drop …` cuts and repairs in one go")
	case !r.compare && len(args) < 2:
		return errors.New("give a NAME for the repaired model, or --compare to see what ways to repair are worth")
	}
	if r.compare {
		return checkComparison(r.output)
	}
	return checkOutput(r.output)
}

// cut finds what a comparison cuts: the layers that --drop would remove, or those
// that are gone from a model already.
func (r *repairing) cut(ctx context.Context, model string, each func(client.Progress)) (parent, removed string, err error) {
	server := client.FromEnvironment()
	if r.drop == "" {
		o, err := server.Origin(ctx, model)
		return o.Parent, o.Removed, err
	}
	request := client.PruneRequest{Model: model, DryRun: true}
	if err := parseDrop(r.drop, &request); err != nil || request.Range != "" {
		return model, request.Range, err
	}
	if _, err := request.Selection(); err != nil { // before anything is sent: JSON has no NaN
		return "", "", err
	}
	planned, err := server.Prune(ctx, request, each)
	return model, layers.Format(planned.Plan.Remove), err
}
