package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/ollama/ollama/format"
	"github.com/spf13/cobra"

	"pare/host/client"
	"pare/host/live"
)

func newTrace() *cobra.Command {
	var flags traceFlags
	c := &cobra.Command{
		Use:   "trace [MODEL]",
		Short: "Measure a model's layers while it answers its users",
		Long: `Measure a model's layers while it answers its users, and show what was measured.

Sums over tokens are kept, never text, tokens or hidden states. Of the model's forward
passes a share is measured, drawn by lot. ` + "`pare prune MODEL … --corpus live`" + ` chooses
layers by them. Requests with the header ` + live.LabelHeader + ` are kept apart under that
label: --corpus live:LABEL.`,
		Example: `  pare trace llama3.1 --sample 10%   # begin, and go on after a restart
  pare trace llama3.1                # what was measured
  pare trace llama3.1 --decay 0.5    # what comes counts for more
  pare trace llama3.1 --off`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return flags.run(c, args) },
	}
	f := c.Flags()
	f.Var(&flags.sample, "sample", "trace the model from now on: share of the forward passes to measure, such as 10%")
	f.BoolVar(&flags.off, "off", false, "trace it no longer, not even after pare serve --trace, until --sample says otherwise")
	f.BoolVar(&flags.reset, "reset", false, "forget what was measured")
	f.Float64Var(&flags.decay, "decay", 0, "multiply the weight of what was measured by this, between 0 and 1: its requests and tokens count for so much from then on")
	f.StringVar(&flags.label, "label", "", "reset or decay the traffic of this label alone")
	f.BoolVar(&flags.asJSON, "json", false, "print JSON")
	return c
}

// traceFlags are the flags of `pare trace`.
type traceFlags struct {
	sample     share
	off, reset bool
	decay      float64
	label      string
	asJSON     bool
}

func (f *traceFlags) run(c *cobra.Command, args []string) error {
	ctx, stop := interruptible(c)
	defer stop()
	server := client.FromEnvironment()
	changes := []string{"sample", "off", "reset", "decay", "label"}
	changed := false
	for _, name := range changes {
		changed = changed || c.Flags().Changed(name)
	}
	if !changed {
		model := ""
		if len(args) > 0 {
			model = args[0]
		}
		all, err := server.Traced(ctx, model)
		if err != nil {
			return err
		}
		return f.print(os.Stdout, all...)
	}
	if len(args) == 0 {
		return errors.New("name the model to change how it is traced")
	}
	r, err := f.request(c, args[0])
	if err != nil {
		return err
	}
	status, err := server.Trace(ctx, r)
	if err != nil {
		return err
	}
	return f.print(os.Stdout, status)
}

func (f *traceFlags) request(c *cobra.Command, model string) (client.TraceRequest, error) {
	r := client.TraceRequest{Model: model, Reset: f.reset, Label: f.label}
	if c.Flags().Changed("decay") {
		r.Decay = &f.decay
	}
	sampled := c.Flags().Changed("sample")
	if f.off && sampled {
		return r, errors.New("give --sample or --off, not both")
	}
	if f.off {
		r.Sample = new(float64)
	} else if sampled {
		r.Sample = (*float64)(&f.sample)
	}
	return r, nil
}

// A share is a flag's value of 10% or 0.1.
type share float64

// String implements pflag.Value; "" is nothing.
func (s *share) String() string {
	if *s == 0 {
		return ""
	}
	return fmt.Sprintf("%.4g%%", 100*float64(*s))
}

// Set implements pflag.Value.
func (s *share) Set(text string) error {
	number, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return errors.New("give a share of the forward passes, such as 10% or 0.1")
	}
	*s = share(v)
	return nil
}

// Type implements pflag.Value.
func (s *share) Type() string { return "share" }

func (f *traceFlags) print(w io.Writer, all ...client.TraceStatus) error {
	if f.asJSON {
		return json.NewEncoder(w).Encode(map[string]any{"models": all})
	}
	t := tabwriter.NewWriter(w, 0, 0, 4, ' ', 0)
	fmt.Fprintln(t, "MODEL\tSAMPLE\tLABEL\tREQUESTS\tTOKENS\tMEASURED\tLAST")
	for _, m := range all {
		sample := "off"
		if of := share(m.Sample); of > 0 {
			sample = of.String()
		}
		if len(m.Labels) == 0 {
			fmt.Fprintf(t, "%s\t%s\t\t0\t0\t0\t\n", m.Model, sample)
		}
		for _, l := range m.Labels {
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", m.Model, sample, l.Label, l.Requests, l.Prompt+l.Generated, l.Measured, format.HumanTime(l.To, "never"))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, m := range all {
		if m.Note != "" {
			fmt.Fprintf(w, "%s: %s\n", m.Model, m.Note)
		}
	}
	return nil
}
