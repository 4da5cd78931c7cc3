package main

import (
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/ollama/ollama/format"
	"github.com/spf13/cobra"

	"pare/host/client"
	"pare/host/heatmap"
	"pare/host/report"
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
			if err := explain(ctx, f, err); err != nil || asJSON {
				return err
			}
			return printResult(last)
		},
	}
	join.Flags().BoolVar(&asJSON, "json", false, "print progress as JSON lines")
	cancel := &cobra.Command{
		Use:     "cancel ID...",
		Aliases: []string{"rm"},
		Short:   "End jobs and delete their work files",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var errs []error
			for _, id := range args {
				errs = append(errs, client.FromEnvironment().Cancel(c.Context(), id))
			}
			return errors.Join(errs...)
		},
	}
	c.AddCommand(join, cancel, newJobReport())
	return c
}

// printResult prints what a job came to.
func printResult(last client.Progress) error {
	switch {
	case last.Report != nil:
		return report.Text(os.Stdout, *last.Report)
	case last.Evaluation != nil:
		return report.EvaluationText(os.Stdout, *last.Evaluation)
	case last.Sweep != nil:
		return report.SweepText(os.Stdout, *last.Sweep)
	case last.Profile != nil:
		return heatmap.Text(os.Stdout, *last.Profile, nil)
	case last.Merged != nil:
		return report.MergedText(os.Stdout, *last.Merged)
	}
	return nil
}

// newJobReport writes the report of a job that is done.
func newJobReport() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "report ID",
		Short:   "Print the report of a job that is done, or write it into a file",
		Example: "  pare jobs report 1a2b3c4d5e6f -o report.html",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if output != "" {
				if err := checkOutput(output); err != nil {
					return err
				}
				return writeReport(c.Context(), args[0], output)
			}
			b, err := client.FromEnvironment().Report(c.Context(), args[0], "txt")
			if err != nil {
				return err
			}
			_, err = os.Stdout.Write(b)
			return err
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "write it into this file: .html, .md, .json, .txt, .svg or .png")
	return c
}

func listJobs(c *cobra.Command) error {
	jobs, err := client.FromEnvironment().Jobs(c.Context())
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 4, ' ', 0)
	fmt.Fprintln(t, "ID\tMODEL\tWHAT\tNAME\tSTARTED\tSTATE")
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
	case j.Last != nil && j.Last.Stage == client.StageWait:
		return "waiting"
	case j.Last != nil && j.Last.Total > 0:
		return fmt.Sprintf("%s (%s %d%%)", j.State, j.Last.Stage, 100*j.Last.Completed/j.Last.Total)
	case j.DryRun:
		return j.State + " (dry run)"
	}
	return j.State
}
