// This plugin is Pare's own with gates in it: a test that has put a named pipe
// into the folder PARE_TEST_GATES holds every job at that point until it lets go
// of the pipe, and can meanwhile kill whom it likes.
//
// A pipe is named after a stage and how many events that stage has reported in
// this call: trace.4, cut.1. Behind registered.1 the host has registered the
// model, and the job does not know it yet.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"pare/plugin"
	"pare/plugin/pipeline"
)

func main() { plugin.Serve(gated{pipeline.Pipeline{Version: "gated"}}) }

type gated struct{ pipeline.Pipeline }

// Prune implements plugin.Pruner.
func (g gated) Prune(ctx context.Context, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.Report, error) {
	way := newGates(ctx)
	return g.Pipeline.Prune(ctx, j, host{h, way}, way.behind(event))
}

// Evaluate implements plugin.Pruner.
func (g gated) Evaluate(ctx context.Context, r plugin.EvaluateRequest, h plugin.Host, event func(plugin.Event)) (plugin.Evaluation, error) {
	return g.Pipeline.Evaluate(ctx, r, h, newGates(ctx).behind(event))
}

// Sweep implements plugin.Pruner.
func (g gated) Sweep(ctx context.Context, r plugin.SweepRequest, h plugin.Host, event func(plugin.Event)) (plugin.Sweep, error) {
	return g.Pipeline.Sweep(ctx, r, h, newGates(ctx).behind(event))
}

// Merge implements plugin.Pruner.
func (g gated) Merge(ctx context.Context, r plugin.MergeRequest, h plugin.Host, event func(plugin.Event)) (plugin.Merged, error) {
	way := newGates(ctx)
	return g.Pipeline.Merge(ctx, r, host{h, way}, way.behind(event))
}

type host struct {
	plugin.Host
	way gates
}

// Register implements plugin.Host.
func (h host) Register(ctx context.Context, r plugin.RegisterRequest) (plugin.Model, error) {
	m, err := h.Host.Register(ctx, r)
	h.way.pass("registered")
	return m, err
}

type gates struct {
	ctx    context.Context
	folder string
	passed map[string]int
}

func newGates(ctx context.Context) gates {
	return gates{ctx: ctx, folder: os.Getenv("PARE_TEST_GATES"), passed: map[string]int{}}
}

// behind hands events on, and has each wait at its gate.
func (g gates) behind(event func(plugin.Event)) func(plugin.Event) {
	return func(e plugin.Event) {
		event(e)
		g.pass(e.Stage)
	}
}

// pass waits at the next gate of a stage, if there is one, until it opens or the
// call is cancelled. Opening a named pipe waits for the other side, and reading
// it ends when the other side closes it.
func (g gates) pass(stage string) {
	g.passed[stage]++
	path := filepath.Join(g.folder, fmt.Sprintf("%s.%d", stage, g.passed[stage]))
	if _, err := os.Stat(path); err != nil {
		return
	}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		if f, err := os.Open(path); err == nil {
			io.Copy(io.Discard, f)
			f.Close()
		}
	}()
	select {
	case <-opened:
	case <-g.ctx.Done():
	}
}
