package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"pare/host/client"
	"pare/host/report"
	"pare/plugin"
)

// A strategy is one way to repair that `pare repair --compare` tries.
type strategy struct {
	name       string // in the table, and behind a model's name
	method     string
	rank, bits int // 0: as for any repair
}

// strategies are those that a technical review of layer pruning compares, and the
// closed form, which trains nothing.
var strategies = []strategy{
	{name: "none", method: plugin.RepairNone},
	{name: "linear", method: plugin.RepairLinear},
	{name: "qlora-4bit-r16", method: plugin.RepairQLoRA, rank: 16, bits: 4},
	{name: "qlora-8bit-r8", method: plugin.RepairQLoRA, rank: 8, bits: 8},
	{name: "linear+qlora", method: plugin.RepairLinearQLoRA},
	{name: "partial", method: plugin.RepairPartial},
	{name: "full", method: plugin.RepairFull},
}

// repair is what a strategy makes of the settings that all have in common: those
// that mean nothing to its method are left out.
func (s strategy) repair(all client.Repair) *client.Repair {
	r := all
	switch {
	case !client.Trains(s.method):
		r = client.Repair{Quantize: all.Quantize}
		if s.method != plugin.RepairNone {
			r.Data = all.Data
		}
	case !client.Adapts(s.method):
		r.Rank, r.Alpha, r.Dropout, r.Targets, r.Layers, r.Adapter = nil, nil, 0, "", "", false
	}
	r.Method = s.method
	if s.rank > 0 {
		r.Rank, r.Bits = &s.rank, s.bits
	}
	return &r
}

// named is what the model of a strategy is called: its name goes before the tag.
func (s strategy) named(name string) string {
	if name == "" {
		return ""
	}
	suffix := "-" + strings.ReplaceAll(s.name, "+", "-")
	if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") {
		return name[:at] + suffix + name[at:]
	}
	return name + suffix
}

// checkComparison refuses what a comparison cannot be written as: it has no figure.
func checkComparison(output string) error {
	if output == "" {
		return nil
	}
	if !slices.Contains([]string{"html", "md", "json", "txt"}, reportFormat(output)) {
		return fmt.Errorf("--output %s: the name must end in .html, .md, .json or .txt", output)
	}
	return checkFolder(output)
}

// compareAll runs a job for each strategy and prints what they came to. A strategy
// that the server refuses, for want of memory say, has its reason in the table.
func (r *repairing) compareAll(c *cobra.Command, model string, request client.PruneRequest) error {
	ctx, stop := interruptible(c)
	defer stop()
	var all client.Repair
	if request.Repair != nil {
		all = *request.Repair
	}
	f := newFollower(r.asJSON)
	parent, removed, err := r.cut(ctx, model, within(f))
	f.stop()
	if err != nil {
		return explain(ctx, f, err)
	}
	var tried []report.Trial
	for i, s := range strategies {
		q := request
		q.Model, q.Range, q.Repair, q.Name = parent, removed, s.repair(all), s.named(request.Name)
		q.Discard = q.Name == ""
		if !r.asJSON {
			fmt.Fprintf(os.Stderr, "%d of %d: %s\n", i+1, len(strategies), s.name)
		}
		trial, f, err := r.try(ctx, q)
		if err != nil {
			return explain(ctx, f, err)
		}
		trial.Strategy = s.name
		tried = append(tried, trial)
	}
	if !slices.ContainsFunc(tried, func(t report.Trial) bool { return t.Report != nil }) {
		return explain(ctx, f, fmt.Errorf("no way to repair came to an end: %s", tried[0].Failed))
	}
	return r.tell(tried)
}

// try runs one job of a comparison.
func (r *repairing) try(ctx context.Context, q client.PruneRequest) (report.Trial, follower, error) {
	f := newFollower(r.asJSON)
	var watch stopwatch
	made, err := client.FromEnvironment().Prune(ctx, q, func(p client.Progress) {
		watch.see(p.Stage, time.Now())
		within(f)(p)
	})
	f.stop()
	var refused *client.StatusError
	switch {
	case ctx.Err() == nil && errors.As(err, &refused):
		return report.Trial{Failed: refused.Message}, f, nil
	case err != nil:
		return report.Trial{}, f, err
	}
	return report.Trial{Report: &made, Seconds: watch.spent.Seconds()}, f, nil
}

// tell prints a comparison and writes it into a file if one is wanted.
func (r *repairing) tell(tried []report.Trial) error {
	page := report.OfComparison(tried)
	if r.output != "" {
		var b strings.Builder
		if err := page.Write(&b, reportFormat(r.output)); err != nil {
			return err
		}
		if err := renameio.WriteFile(r.output, []byte(b.String()), 0o644); err != nil {
			return fmt.Errorf("write the comparison: %w", err)
		}
		fmt.Fprintf(os.Stderr, "comparison written to %s\n", r.output)
	}
	if r.asJSON {
		return json.NewEncoder(os.Stdout).Encode(map[string]any{"status": "success", "comparison": tried})
	}
	return page.Write(os.Stdout, "txt")
}

// A stopwatch takes the time of a repair from the job's progress, from the first
// line of a stage of it to the first line of what comes after. The answers that
// the uncut model writes do not count: whoever comes first writes them for all.
type stopwatch struct {
	spent time.Duration
	since time.Time // zero while something else runs
}

func (w *stopwatch) see(stage string, now time.Time) {
	repairs := slices.Contains([]string{"observe", "fit", "train", "merge", "tune"}, stage)
	if !w.since.IsZero() {
		w.spent += now.Sub(w.since)
	}
	w.since = time.Time{}
	if repairs {
		w.since = now
	}
}
