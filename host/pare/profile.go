package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"pare/host/client"
	"pare/host/heatmap"
	"pare/plugin"
)

func newProfile() *cobra.Command {
	var flags selectionFlags
	var add, asJSON bool
	var output, compare string
	c := &cobra.Command{
		Use:   "profile MODEL",
		Short: "Show how much each layer of a model changes its hidden states",
		Long: `Show how much each layer of a model changes its hidden states.

MODEL is watched at work on some text, once: the profile is kept and used again.
With --corpus it is made from that text instead, or from that text too (--add);
--corpus default goes back to the text that comes with Pare. --corpus live shows that
of the traffic which pare trace measures, and --compare that of two labels.`,
		Example: `  pare profile smollm2
  pare profile smollm2 --drop 20% -o smollm2.png
  pare profile smollm2 --corpus notes.txt --add
  pare profile smollm2 --compare kept,live`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := flags.request(args[0])
			if err != nil {
				return err
			}
			if compare != "" {
				if flags != (selectionFlags{}) || add || output != "" {
					return errors.New("--compare goes with --json alone")
				}
				d, err := newDiffering(args[0], compare, asJSON)
				if err != nil {
					return err
				}
				ctx, stop := interruptible(c)
				defer stop()
				return d.run(ctx)
			}
			p := &profiling{selection: r, add: add, asJSON: asJSON, output: output}
			if err := p.check(); err != nil {
				return err
			}
			return p.run(c)
		},
	}
	flags.register(c)
	c.Flags().BoolVar(&add, "add", false, "add the text of --corpus to the profile that is kept")
	c.Flags().StringVarP(&output, "output", "o", "", "draw the heat map into this file, .png or .svg")
	c.Flags().StringVar(&compare, "compare", "", "compare two profiles, such as code,mail: labels of traffic (live:LABEL for one that is called live or kept), live for all of it, kept for that of text, which is made if there is none")
	c.Flags().BoolVar(&asJSON, "json", false, "print progress and the profile as JSON lines")
	return c
}

// profiling is one run of `pare profile`.
type profiling struct {
	selection client.PruneRequest
	add       bool
	asJSON    bool
	output    string
}

func (p *profiling) check() error {
	if p.add && p.selection.Corpus == nil {
		return errors.New("--add needs the text to add: --corpus FILE")
	}
	if _, live := p.selection.Corpus.Traffic(); live && p.add {
		return errors.New("--add: a profile is of text or of traffic")
	}
	if f := reportFormat(p.output); p.output != "" && f != "png" && f != "svg" {
		return fmt.Errorf("--output %s: the name must end in .png or .svg", p.output)
	}
	if p.output != "" {
		return checkFolder(p.output)
	}
	return nil
}

func (p *profiling) run(c *cobra.Command) error {
	ctx, stop := interruptible(c)
	defer stop()
	server := client.FromEnvironment()
	f := newFollower(p.asJSON)
	profile, err := server.Profile(ctx, client.ProfileRequest{Model: p.selection.Model, Corpus: p.selection.Corpus, Add: p.add}, within(f))
	f.stop()
	if err := explain(ctx, f, err); err != nil {
		return err
	}
	var plan *plugin.Plan
	if p.selects() {
		chosen, err := server.Plan(ctx, p.planRequest())
		if err != nil {
			return explain(ctx, f, err)
		}
		plan = &chosen
	}
	if p.output != "" {
		if err := p.draw(ctx, server); err != nil {
			return explain(ctx, f, err)
		}
	}
	return p.print(profile, plan)
}

// selects reports whether layers are to be marked.
func (p *profiling) selects() bool {
	r := p.selection
	return r.Drop != nil || r.Layers != nil || r.Range != ""
}

// planRequest is the selection without text, which the kept profile has by now.
func (p *profiling) planRequest() client.PruneRequest {
	r := p.selection
	if _, live := r.Corpus.Traffic(); !live {
		r.Corpus = nil
	}
	return r
}

// draw has the server draw the heat map, which knows what a selection would remove.
func (p *profiling) draw(ctx context.Context, server *client.Client) error {
	b, err := server.Heatmap(ctx, p.planRequest(), reportFormat(p.output))
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(p.output, b, 0o644); err != nil {
		return fmt.Errorf("write the heat map: %w", err)
	}
	if !p.asJSON {
		fmt.Fprintf(os.Stderr, "heat map written to %s\n", p.output)
	}
	return nil
}

func (p *profiling) print(profile plugin.Profile, plan *plugin.Plan) error {
	if p.asJSON {
		return json.NewEncoder(os.Stdout).Encode(struct {
			client.Progress
			Plan *plugin.Plan `json:"plan,omitempty"`
		}{client.Progress{Status: "success", Profile: &profile}, plan})
	}
	if err := heatmap.Text(os.Stdout, profile, plan); err != nil {
		return err
	}
	if plan != nil {
		fmt.Println()
		printAlternatives(os.Stdout, *plan)
	}
	return nil
}
