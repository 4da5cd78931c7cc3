package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pare/host/client"
	"pare/plugin"
)

// repairFlags are the flags that say how a cut model is repaired. What else there
// is to set (dropout, warm-up, …) can be set through the API.
type repairFlags struct {
	prefix   string
	set      *pflag.FlagSet
	data     string
	settings client.Repair

	rank, steps, batch, length, accumulate int
	alpha, rate                            float64
}

// register adds the flags, in a group of their own in the command's help. method
// is the name of the one that says how; the others are called after prefix.
func (f *repairFlags) register(c *cobra.Command, method, prefix string) {
	f.prefix, f.set = prefix, pflag.NewFlagSet("repair", pflag.ContinueOnError)
	f.set.SortFlags = false
	s, r := f.set, &f.settings
	s.StringVar(&r.Method, method, "", "how: none, linear, qlora, linear+qlora (default), partial or full")
	s.StringVar(&f.data, prefix+"data", "", "a file of text, JSONL or chats to learn from; self (default) for answers of the uncut model")
	s.StringVar(&r.Loss, prefix+"loss", "", "what to learn: distill (default, the uncut model's probabilities), next (token) or hidden (its states)")
	s.StringVar(&r.Preset, prefix+"preset", "", "where settings that are not given come from: pare (default) or review")
	s.IntVar(&f.steps, prefix+"steps", 0, "steps of training")
	s.Float64Var(&f.rate, prefix+"rate", 0, "learning rate")
	s.IntVar(&f.rank, prefix+"rank", 0, "rank of the adapters")
	s.Float64Var(&f.alpha, prefix+"alpha", 0, "scale of the adapters: what they add is multiplied by alpha/rank")
	s.StringVar(&r.Targets, prefix+"targets", "", "what has adapters: all (default), ffn or attention")
	s.StringVar(&r.Layers, prefix+"layers", "", "layers to train: above the cut (default), all, or window:4 for 4 each side of it")
	s.IntVar(&f.batch, prefix+"batch", 0, "sequences a step")
	s.IntVar(&f.accumulate, prefix+"accumulate", 0, "parts that a batch is computed in, to save memory")
	s.IntVar(&f.length, prefix+"length", 0, "tokens of a sequence")
	s.IntVar(&r.Bits, prefix+"bits", 0, "of the frozen weights in training: 4 or 8; as they are stored if not given")
	s.Int64Var(&r.Seed, prefix+"seed", 0, "of the order of the text and the adapters' first values")
	s.BoolVar(&r.Adapter, "adapter", false, "store what was learnt as an adapter beside the cut model instead of merging it")
	s.StringVar(&r.Quantize, "quantize", "", "store the result in this type: f16, q8_0, q4_K_M or q4_K_S")
	grouped(c, "Repair", s)
}

// request turns the flags into the API's words; it is nil if none was given.
func (f *repairFlags) request() (*client.Repair, error) {
	given := false
	f.set.VisitAll(func(flag *pflag.Flag) { given = given || flag.Changed })
	if !given {
		return nil, nil
	}
	r := f.settings
	optional(f, "rank", &f.rank, &r.Rank)
	optional(f, "steps", &f.steps, &r.Steps)
	optional(f, "batch", &f.batch, &r.Batch)
	optional(f, "length", &f.length, &r.Length)
	optional(f, "accumulate", &f.accumulate, &r.Accumulate)
	optional(f, "alpha", &f.alpha, &r.Alpha)
	optional(f, "rate", &f.rate, &r.LearningRate)
	var err error
	if f.data == plugin.DataSelf {
		r.Data = &client.Corpus{Name: plugin.DataSelf}
	} else if r.Data, err = readCorpus(f.data); err != nil {
		return nil, err
	}
	_, err = r.Settings() // before anything is sent: JSON has no NaN
	return &r, err
}

// optional points a field of the request to a flag's value if the flag was given.
func optional[T any](f *repairFlags, name string, value *T, field **T) {
	if f.set.Changed(f.prefix + name) {
		*field = value
	}
}

// grouped adds flags to a command that its help shows under a title of their own,
// behind the others.
func grouped(c *cobra.Command, title string, flags *pflag.FlagSet) {
	c.Flags().AddFlagSet(flags)
	usage := c.UsageFunc()
	c.SetUsageFunc(func(c *cobra.Command) error {
		hide := func(hidden bool) { flags.VisitAll(func(f *pflag.Flag) { f.Hidden = hidden }) }
		hide(true)
		err := usage(c)
		hide(false)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStderr(), "\n%s:\n%s", title, flags.FlagUsages())
		return err
	})
}
