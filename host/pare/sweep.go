package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pare/host/client"
)

func newSweep() *cobra.Command {
	var judge judgeFlags
	var drop, criteria, rise, corpus, output string
	var r client.SweepRequest
	var asJSON bool
	c := &cobra.Command{
		Use:   "sweep MODEL",
		Short: "Show what removing more and more layers of a model would cost",
		Long: `Show what removing more and more layers of a model would cost.

MODEL is run without the layers that each criterion would remove at each rate;
no file is made. With --max-ppl-rise the largest cut within it is proposed.
Ctrl-C stops the sweep; the same command goes on with it.`,
		Example: `  pare sweep smollm2
  pare sweep smollm2 --drop 10%..50% --max-ppl-rise 10% -o sweep.png
  pare sweep llama3.1 --drop 10%,25% --criteria auto,angular --seeds 3`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r.Model = args[0]
			var err error
			if r.Rates, err = parseRates(drop); err != nil {
				return err
			}
			if criteria != "" {
				r.Criteria = strings.Split(criteria, ",")
			}
			if r.Tolerance, err = parseShare("--max-ppl-rise", rise); err != nil {
				return err
			}
			if r.Corpus, err = choosingCorpus(corpus); err != nil {
				return err
			}
			e, err := judge.request()
			if err != nil {
				return err
			}
			r.Evaluate = &e
			if err := checkOutput(output); err != nil {
				return err
			}
			return follow(c, asJSON, output, func(ctx context.Context, each func(client.Progress)) (client.Progress, error) {
				return client.FromEnvironment().Sweep(ctx, r, each)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&drop, "drop", "", "shares of the layers: 10%..50% in steps of ten (the default), 10%..30%/5% in steps of five, or 10%,25%")
	f.StringVar(&criteria, "criteria", "", "rules to compare, with commas (auto,angular,influence,deepest if not given)")
	f.IntVar(&r.Seeds, "seeds", 1, "choose on so many halves of the text, to see how much it matters")
	f.StringVar(&r.Protect, "protect", "", "layers that must stay, such as 0-3,29")
	f.StringVar(&rise, "max-ppl-rise", "", "propose the largest cut whose perplexity rises no more, such as 10%")
	f.BoolVar(&r.EachLayer, "each-layer", false, "also show what each single layer is for")
	f.StringVar(&corpus, "corpus", "", "a file of text or JSONL to choose by, \"default\" for the text that comes with Pare, or \"live\" for traffic")
	f.StringVar(&judge.level, "level", "quick", "how much text to score: quick or full")
	f.StringVar(&judge.text, "score", "", "a file of text or JSONL to score instead of the text that comes with Pare")
	judge.registerThresholds(c)
	registerOutput(c, &output, &asJSON)
	return c
}

// parseRates reads 10%..50%, 10%..30%/5% or 10%,25%; nothing is the default.
func parseRates(s string) ([]float64, error) {
	const flag = "--drop"
	if s == "" {
		return nil, nil
	}
	from, rest, isRange := strings.Cut(s, "..")
	if !isRange {
		var rates []float64
		for part := range strings.SplitSeq(s, ",") {
			rate, err := parseShare(flag, part)
			if err != nil {
				return nil, err
			}
			rates = append(rates, rate)
		}
		return rates, nil
	}
	to, step, given := strings.Cut(rest, "/")
	if !given {
		step = "10%"
	}
	var v [3]float64
	for i, part := range []string{from, to, step} {
		var err error
		if v[i], err = parseShare(flag, part); err != nil {
			return nil, err
		}
	}
	if v[2] < 0.001 || v[1] < v[0] || !(v[0] > 0 && v[1] < 1) {
		return nil, fmt.Errorf("%s %s: give shares between 0 and 100%%, the smaller first, and steps of at least 0.1%%", flag, s)
	}
	var rates []float64
	for i := 0; ; i++ {
		rate := v[0] + float64(i)*v[2]
		if rate > v[1]+1e-9 {
			return rates, nil
		}
		rates = append(rates, rate)
	}
}

// parseShare reads 10% or 0.1; nothing is 0. A bare number of 1 or more is hardly
// meant as a share.
func parseShare(flag, s string) (float64, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, nil
	}
	number, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || !percent && v >= 1 {
		return 0, fmt.Errorf("%s: %q is not a share; write 10%% or 0.1", flag, s)
	}
	if percent {
		v /= 100
	}
	return v, nil
}
