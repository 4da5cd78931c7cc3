package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pare/host/client"
	"pare/plugin"
	"pare/plugin/layers"
)

// What a person sees of `pare try`. The answer, and no more, goes to stdout; with
// --both each answer has a heading there. Which layers were chosen, and notes on
// that, go to stderr. A chat needs a terminal at both ends.

func newTry() *cobra.Command {
	var flags tryFlags
	c := &cobra.Command{
		Use:   "try MODEL --drop HOW-MUCH [PROMPT]",
		Short: "Talk to a model as if layers had been removed",
		Long: `Talk to a model as if layers had been removed. Nothing is written: the layers are
left out while it runs, in a process apart from those that serve.

With a PROMPT, or one on standard input, it answers once. Without, it is a chat:
/whole has the whole model answer, to compare, and /? tells of the rest.`,
		Example: `  pare try smollm2 --drop 20%
  pare try llama3.1 --drop 20-27 --both "Why is the sky blue?"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := flags.trial(c, args)
			if err != nil {
				return err
			}
			return t.fail(t.run(c.Context(), strings.Join(args[1:], " ")))
		},
	}
	flags.register(c)
	return c
}

// tryFlags are the flags of `pare try`.
type tryFlags struct {
	drop         string
	both, asJSON bool
	temperature  float64
	seed         int
	numPredict   int
}

func (f *tryFlags) register(c *cobra.Command) {
	s := c.Flags()
	s.StringVar(&f.drop, "drop", "", "what to leave out: a share of the layers (25%), a number of them (8), or which (20-27)")
	s.BoolVar(&f.both, "both", false, "have the whole model answer too, first")
	s.BoolVar(&f.asJSON, "json", false, "print the lines of the answer as the server sends them")
	s.Float64Var(&f.temperature, "temperature", 0, "how freely tokens are chosen; 0 always takes the likeliest (default: the model's own)")
	s.IntVar(&f.seed, "seed", 0, "of the choice of tokens (default: another each time)")
	s.IntVar(&f.numPredict, "num-predict", 0, "tokens of an answer at most (default: the model's own)")
}

// trial checks the flags.
func (f *tryFlags) trial(c *cobra.Command, args []string) (*trial, error) {
	t := &trial{server: client.FromEnvironment(), model: args[0], both: f.both, asJSON: f.asJSON, options: map[string]any{}, out: os.Stdout}
	t.drop.Model = t.model
	if f.drop == "" {
		return nil, errors.New("say what to leave out: --drop 25%, --drop 8 (layers), or --drop 20-27")
	}
	if err := parseDrop(f.drop, &t.drop); err != nil {
		return nil, err
	}
	if _, err := t.drop.Selection(); err != nil {
		return nil, err
	}
	for flag, value := range map[string]any{"temperature": f.temperature, "seed": f.seed, "num-predict": f.numPredict} {
		if c.Flags().Changed(flag) {
			t.options[strings.ReplaceAll(flag, "-", "_")] = value
		}
	}
	return t, nil
}

// A trial is one run of `pare try`.
type trial struct {
	server  *client.Client
	model   string
	drop    client.PruneRequest
	options map[string]any
	both    bool
	asJSON  bool
	out     io.Writer

	plan plugin.Plan // tells which layers
}

func (t *trial) run(ctx context.Context, prompt string) error {
	talk := false
	if prompt == "" {
		terminal := term.IsTerminal(int(os.Stdin.Fd()))
		talk = terminal && term.IsTerminal(int(os.Stdout.Fd())) && !t.asJSON
		switch {
		case terminal && !talk:
			return errors.New("give a PROMPT; a chat needs a terminal, and no --json")
		case !terminal:
			b, err := io.ReadAll(os.Stdin)
			if err != nil {
				return fmt.Errorf("read the prompt: %w", err)
			}
			if prompt = strings.TrimSpace(string(b)); prompt == "" {
				return errors.New("the prompt is empty; give it behind the model's name, or on standard input")
			}
		}
	}
	if err := t.choose(ctx); err != nil {
		return err
	}
	if talk {
		return t.chat(ctx)
	}
	_, err := t.answer(ctx, []client.Message{{Role: "user", Content: prompt}}, t.sides())
	return err
}

// choose asks the server which layers to leave out.
func (t *trial) choose(ctx context.Context) (err error) {
	if t.plan, err = t.server.Plan(ctx, t.drop); err != nil || t.drop.Range != "" {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s of %d\n", t.without(), t.plan.Layers)
	for _, n := range t.plan.Notes {
		fmt.Fprintf(os.Stderr, "note: %s\n", n)
	}
	return nil
}

func (t *trial) without() string { return "without " + layers.Phrase(t.plan.Remove) }

// A side is one of the models that answer: the whole one, or the one that is tried.
type side struct {
	name   string
	bypass string
}

func (t *trial) cut() side { return side{t.model + " " + t.without(), layers.Format(t.plan.Remove)} }

func (t *trial) whole() side { return side{"the whole model", ""} }

// sides are those who answer, the one that is tried last.
func (t *trial) sides() []side {
	if t.both {
		return []side{t.whole(), t.cut()}
	}
	return []side{t.cut()}
}

// answer prints what each side makes of a chat, and returns what the last one said.
func (t *trial) answer(ctx context.Context, messages []client.Message, sides []side) (said string, err error) {
	for i, s := range sides {
		if len(sides) > 1 && !t.asJSON {
			if i > 0 {
				fmt.Fprintln(t.out)
			}
			fmt.Fprintf(t.out, "%s:\n", s.name)
		}
		said, err = t.say(ctx, messages, s.bypass)
		if err != nil && i < len(sides)-1 {
			return "", err
		}
	}
	return said, err
}

// say prints one answer as it comes.
func (t *trial) say(ctx context.Context, messages []client.Message, bypass string) (string, error) {
	var said strings.Builder
	r := client.PreviewRequest{Model: t.model, Bypass: bypass, Messages: messages, Options: t.options}
	err := t.server.Preview(ctx, r, func(reply client.PreviewReply) error {
		said.WriteString(reply.Response)
		if t.asJSON {
			return json.NewEncoder(t.out).Encode(reply)
		}
		_, err := io.WriteString(t.out, reply.Response)
		return err
	})
	if !t.asJSON && !strings.HasSuffix(said.String(), "\n") && (err == nil || said.Len() > 0) {
		fmt.Fprintln(t.out)
	}
	return said.String(), err
}

// fail words an error, as JSON where that was asked for.
func (t *trial) fail(err error) error {
	if err == nil || !t.asJSON {
		return err
	}
	return (&jsonFollower{json.NewEncoder(t.out)}).fail(err)
}
