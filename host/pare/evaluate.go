package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"pare/host/client"
	"pare/host/report"
	"pare/plugin"
)

// judgeFlags are the flags that say how a model is judged.
type judgeFlags struct {
	level, text string
	tasks       []string
	thresholds  plugin.Thresholds
}

// register adds the flags; a model is judged at level unless told otherwise.
func (j *judgeFlags) register(c *cobra.Command, name, level string) {
	f := c.Flags()
	levels := "quick or full"
	if name == "evaluate" { // an evaluation that nobody asked for may be left out
		levels = "none, quick or full"
	}
	f.StringVar(&j.level, name, level, "how much to measure: "+levels)
	f.StringVar(&j.text, "score", "", "a file of text or JSONL to score instead of the text that comes with Pare")
	f.StringArrayVar(&j.tasks, "tasks", nil, "a file of multiple-choice questions instead of Pare's own; can be given again")
	j.registerThresholds(c)
}

func (j *judgeFlags) registerThresholds(c *cobra.Command) {
	f := c.Flags()
	f.Float64Var(&j.thresholds.KeepKL, "keep-kl", 0, "highest KL divergence of a verdict \"keep\", nats a token (0.1 if not given)")
	f.Float64Var(&j.thresholds.KeepLoss, "keep-loss", 0, "highest share of right answers lost of a verdict \"keep\" (0.02 if not given)")
	f.Float64Var(&j.thresholds.RepairLoss, "worth-loss", 0, "highest share of right answers above chance lost of \"repair first\" (0.9 if not given)")
	f.Float64Var(&j.thresholds.RepairKL, "worth-kl", 0, "highest KL divergence of a verdict \"repair first\" (1 if not given)")
}

// request turns the flags into the API's words.
func (j *judgeFlags) request() (client.Evaluate, error) {
	e := client.Evaluate{Level: j.level}
	if j.thresholds != (plugin.Thresholds{}) {
		e.Thresholds = &j.thresholds
	}
	var err error
	if e.Corpus, err = readCorpus(j.text); err != nil {
		return e, err
	}
	for _, path := range j.tasks {
		c, err := readCorpus(path)
		if err != nil {
			return e, err
		}
		e.Tasks = append(e.Tasks, *c)
	}
	return e, nil
}

func newEval() *cobra.Command {
	var flags judgeFlags
	var without, output string
	var asJSON bool
	c := &cobra.Command{
		Use:   "eval MODEL [OTHER]",
		Short: "Measure how good a model is, alone or against another",
		Long: `Measure how good a model is, alone or against another.

Perplexity by style of text, multiple-choice questions, speed and memory; of
OTHER also how far its probabilities and answers are from MODEL's, and a verdict.
--without runs MODEL itself without some layers, as if they had been cut out.`,
		Example: `  pare eval smollm2
  pare eval smollm2 smollm2-small
  pare eval smollm2 --without 13-18 --level full`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			r := client.EvaluateRequest{Model: args[0], Bypass: without}
			if len(args) == 2 {
				r.Other = args[1]
			}
			var err error
			if r.Evaluate, err = flags.request(); err != nil {
				return err
			}
			if err := checkOutput(output); err != nil {
				return err
			}
			return follow(c, asJSON, output, func(ctx context.Context, each func(client.Progress)) (client.Progress, error) {
				return client.FromEnvironment().Evaluate(ctx, r, each)
			})
		},
	}
	flags.register(c, "level", "quick")
	c.Flags().StringVar(&without, "without", "", "layers to run MODEL without, such as 13-18")
	registerOutput(c, &output, &asJSON)
	return c
}

func registerOutput(c *cobra.Command, output *string, asJSON *bool) {
	c.Flags().StringVarP(output, "output", "o", "", "write the report into this file: .html, .md, .json, .txt, .svg or .png")
	c.Flags().BoolVar(asJSON, "json", false, "print progress and the result as JSON lines")
}

// follow runs a job whose result is printed, and its report written if wanted.
func follow(c *cobra.Command, asJSON bool, output string, run func(context.Context, func(client.Progress)) (client.Progress, error)) error {
	ctx, stop := interruptible(c)
	defer stop()
	f := newFollower(asJSON)
	last, err := run(ctx, f.show)
	f.stop()
	if err := explain(ctx, f, err); err != nil {
		return err
	}
	var unwritten error
	if output != "" {
		unwritten = writeReport(ctx, last.Job, output)
	}
	if !asJSON { // else the last line was printed as it came
		err = printResult(last)
	}
	return cmp.Or(explain(ctx, f, unwritten), err)
}

// reportFormat is that of an output file.
func reportFormat(output string) string {
	return strings.TrimPrefix(strings.ToLower(filepath.Ext(output)), ".")
}

func checkOutput(output string) error {
	if output == "" {
		return nil
	}
	if _, ok := report.ContentType(reportFormat(output)); !ok {
		return fmt.Errorf("--output %s: the name must end in .html, .md, .json, .txt, .svg or .png", output)
	}
	return checkFolder(output)
}

// checkFolder refuses a file that could not be written when a job is done.
func checkFolder(output string) error {
	folder := filepath.Dir(output)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return fmt.Errorf("--output %s: there is no folder %s; make it first", output, folder)
	}
	return nil
}

// writeReport fetches the report of a job that is done.
func writeReport(ctx context.Context, job, output string) error {
	if job == "" {
		return errors.New("write the report: the server named no job")
	}
	b, err := client.FromEnvironment().Report(ctx, job, reportFormat(output))
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(output, b, 0o644); err != nil {
		return fmt.Errorf("write the report: %w; `pare jobs report %s -o FILE` writes it elsewhere", err, job)
	}
	fmt.Fprintf(os.Stderr, "report written to %s\n", output)
	return nil
}
