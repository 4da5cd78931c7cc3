package main

import (
	"context"

	"github.com/spf13/cobra"

	"pare/host/client"
)

func newMerge() *cobra.Command {
	var force, asJSON bool
	c := &cobra.Command{
		Use:   "merge MODEL NAME",
		Short: "Merge a model's adapter into its weights, so that it can be pruned",
		Long: `Merge a model's adapter into its weights, so that it can be pruned.

MODEL is one with a LoRA adapter, made with ADAPTER in a Modelfile or by
pare prune --adapter. NAME has its template and parameters, and in its
weights what the adapter adds to them. MODEL stays as it is.`,
		Example: `  pare merge support-bot support-bot-merged
  pare prune support-bot-merged support-bot-small --drop 20%`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			r := client.MergeRequest{Model: args[0], Name: args[1], Force: force}
			return follow(c, asJSON, "", func(ctx context.Context, each func(client.Progress)) (client.Progress, error) {
				return client.FromEnvironment().Merge(ctx, r, each)
			})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "replace a model called NAME")
	c.Flags().BoolVar(&asJSON, "json", false, "print progress and the result as JSON lines")
	return c
}
