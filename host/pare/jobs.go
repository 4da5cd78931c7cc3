package main

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/ollama/ollama/format"
	"github.com/spf13/cobra"

	"pare/host/client"
)

func newJobs() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "jobs",
		Short: "List pruning jobs, follow one, or cancel it",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return listJobs(c) },
	}
	join := &cobra.Command{
		Use:   "join ID",
		Short: "Follow a running job",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := interruptible(c)
			defer stop()
			f := newFollower(asJSON)
			last, err := client.FromEnvironment().Join(ctx, args[0], f.show)
			f.stop()
			if ctx.Err() != nil {
				return fmt.Errorf("not following job %s any more; it goes on as long as somebody does", args[0])
			}
			if err := explain(ctx, f, err); err != nil || asJSON || last.Report == nil {
				return err
			}
			printPlan(os.Stdout, last.Report.Plan)
			if !last.Report.DryRun {
				printBeforeAfter(os.Stdout, *last.Report)
			}
			return nil
		},
	}
	join.Flags().BoolVar(&asJSON, "json", false, "print progress as JSON lines")
	cancel := &cobra.Command{
		Use:   "cancel ID",
		Short: "End a job and delete its work files",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return client.FromEnvironment().Cancel(c.Context(), args[0])
		},
	}
	c.AddCommand(join, cancel)
	return c
}

func listJobs(c *cobra.Command) error {
	jobs, err := client.FromEnvironment().Jobs(c.Context())
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 4, ' ', 0)
	fmt.Fprintln(t, "ID\tMODEL\tREMOVE\tNAME\tSTARTED\tSTATE")
	for _, j := range jobs {
		started := "?"
		if at, err := time.Parse(time.RFC3339, j.Created); err == nil {
			started = format.HumanTime(at, "?")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", j.ID, j.Model, j.What, j.Name, started, state(j))
	}
	return t.Flush()
}

// state says where a job is, with its share of the stage if it runs.
func state(j client.Job) string {
	switch {
	case j.State == client.Failed:
		return j.State + ": " + j.Error
	case j.DryRun:
		return j.State + " (dry run)"
	case j.Last == nil || j.Last.Total == 0:
		return j.State
	}
	return fmt.Sprintf("%s (%s %d%%)", j.State, j.Last.Stage, 100*j.Last.Completed/j.Last.Total)
}
