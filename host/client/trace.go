package client

import (
	"context"
	"net/http"
	"time"

	"pare/plugin"
)

// TraceRequest is the body of POST /api/prune/trace: how a model's traffic is traced
// from now on, and what becomes of what was measured. A field that is left out changes
// nothing.
type TraceRequest struct {
	Model  string   `json:"model"`
	Sample *float64 `json:"sample,omitempty"` // share of the forward passes to measure; 0 ends tracing
	Reset  bool     `json:"reset,omitempty"`  // forget what was measured
	Decay  *float64 `json:"decay,omitempty"`  // multiply its weight by a factor between 0 and 1
	Label  string   `json:"label,omitempty"`  // of the traffic to reset or decay; all without one
}

// TraceStatus is what was measured of a model's traffic.
type TraceStatus struct {
	Model  string    `json:"model"`          // the first of its names, or the digest if it has none any more
	Digest string    `json:"digest"`         // of the GGUF
	Sample float64   `json:"sample"`         // 0 if it is not traced
	Labels []Traffic `json:"labels"`         // by name; that of requests without one is ""
	Note   string    `json:"note,omitempty"` // why it is not traced though it should be; that no more labels are kept
}

// Traffic counts the traffic of one label. Tokens are those of prompts and those that
// the model made, as the runner reports them.
type Traffic struct {
	Label     string         `json:"label"`
	From      time.Time      `json:"from"`
	To        time.Time      `json:"to"`
	Requests  int64          `json:"requests"` // to the runner: a call with several inputs makes several
	Prompt    int64          `json:"prompt_tokens"`
	Generated int64          `json:"generated_tokens"`
	Measured  int64          `json:"measured_tokens"`
	Skipped   int64          `json:"skipped_tokens"`      // by lot
	LeftOut   int64          `json:"left_out_tokens"`     // for want of memory
	Cached    int64          `json:"not_computed_tokens"` // they came from the prompt cache, or ended an answer, or a job had the tap
	Chunks    int            `json:"chunks"`
	Faults    []plugin.Fault `json:"faults,omitempty"`
}

// Trace changes how a model's traffic is traced, and says what was measured.
func (c *Client) Trace(ctx context.Context, r TraceRequest) (TraceStatus, error) {
	var s TraceStatus
	err := c.call(ctx, http.MethodPost, "/api/prune/trace", r, &s)
	return s, err
}

// Traced lists the models that are or were traced, or one of them.
func (c *Client) Traced(ctx context.Context, model string) ([]TraceStatus, error) {
	var l struct {
		Models []TraceStatus `json:"models"`
	}
	path := "/api/prune/trace"
	if model != "" {
		path += "/" + model
	}
	err := c.call(ctx, http.MethodGet, path, nil, &l)
	return l.Models, err
}
