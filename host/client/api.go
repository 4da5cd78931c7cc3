// Package client is Pare's HTTP API as Go types, and a client for it.
//
// Long calls answer with NDJSON, one [Progress] a line, like Ollama's
// /api/pull. An error before the first line is an HTTP status with
// {"error": "…"}; after it, a line of that form.
package client

import (
	"strings"

	"pare/plugin"
	"pare/plugin/layers"
)

// Corpus is text to trace a model with. It comes in the request, never as a
// path on the server: as Text, or as the digest of a blob that was uploaded
// with POST /api/blobs/DIGEST. Plain text, or JSONL with a "text", a "prompt"
// and "response", or "messages" a line.
type Corpus struct {
	Name   string `json:"name,omitempty"`
	Text   string `json:"text,omitempty"`
	Digest string `json:"digest,omitempty"`
}

// liveCorpus is the name by which a request asks for a model's traffic instead of text,
// with a colon and a label behind it for that of a label.
const liveCorpus = "live"

// Traffic is the label of the traffic that c names, and whether it names any.
func (c *Corpus) Traffic() (label string, live bool) {
	if c == nil || c.Text != "" || c.Digest != "" {
		return "", false
	}
	if label, live = strings.CutPrefix(c.Name, liveCorpus+":"); live {
		return label, true
	}
	return "", c.Name == liveCorpus
}

// PruneRequest is the body of POST /api/prune. A Corpus in it is for this job
// alone; the kept profile stays as it is. One of Drop, Layers and Range
// says how much to remove.
type PruneRequest struct {
	Model string `json:"model"`
	Name  string `json:"name,omitempty"` // of the result; not needed for a dry run, nor if it is discarded

	Drop   *float64 `json:"drop,omitempty"`   // share of the layers, between 0 and 1
	Layers *int     `json:"layers,omitempty"` // number of layers
	Range  string   `json:"range,omitempty"`  // "20-27" or "3,20-27", 0-based and inclusive

	Criterion string  `json:"criterion,omitempty"`
	Tokens    string  `json:"tokens,omitempty"`  // "all" (default) or "last"
	Protect   string  `json:"protect,omitempty"` // layers to keep, written like Range
	Corpus    *Corpus `json:"corpus,omitempty"`
	DryRun    bool    `json:"dry_run,omitempty"` // stop at the plan
	Discard   bool    `json:"discard,omitempty"` // make and judge the result, and keep the report alone
	Force     bool    `json:"force,omitempty"`   // replace a model called Name
	Stream    *bool   `json:"stream,omitempty"`

	Repair   *Repair   `json:"repair,omitempty"`   // how what is left is healed; by the plugin's default if it is left out
	Evaluate *Evaluate `json:"evaluate,omitempty"` // how the result is judged
}

// ProfileRequest is the body of POST /api/prune/profile: trace a model, or
// return what is kept if it covers the corpus.
type ProfileRequest struct {
	Model  string  `json:"model"`
	Corpus *Corpus `json:"corpus,omitempty"`
	Add    bool    `json:"add,omitempty"` // add the corpus to the kept profile instead of replacing it
	Stream *bool   `json:"stream,omitempty"`
}

// MergeRequest is the body of POST /api/prune/merge: make a model that has in its
// weights what the adapter of another adds to them.
type MergeRequest struct {
	Model  string `json:"model"`
	Name   string `json:"name"`            // of the result
	Force  bool   `json:"force,omitempty"` // replace a model called Name
	Stream *bool  `json:"stream,omitempty"`
}

// Progress is one line of a long call. The last one has Status "success" and
// the result.
type Progress struct {
	Job       string  `json:"job,omitempty"`
	Stage     string  `json:"stage,omitempty"`     // of plugin.Event
	Status    string  `json:"status,omitempty"`    // what it does; in training also the losses, so that it changes within the stage
	Completed int64   `json:"completed,omitempty"` // bytes of text (trace) or of the file (cut, merge), steps (train, tune), else tokens
	Total     int64   `json:"total,omitempty"`     // in the same unit
	Rate      float64 `json:"rate,omitempty"`      // units a second, over this stage
	Left      float64 `json:"left,omitempty"`      // seconds, estimated
	Error     string  `json:"error,omitempty"`     // the job failed
	Code      int     `json:"code,omitempty"`      // HTTP status of Error

	// The result, by kind of job.
	Report     *plugin.Report     `json:"report,omitempty"`
	Profile    *plugin.Profile    `json:"profile,omitempty"`
	Evaluation *plugin.Evaluation `json:"evaluation,omitempty"`
	Sweep      *plugin.Sweep      `json:"sweep,omitempty"`
	Merged     *plugin.Merged     `json:"merged,omitempty"`
}

// OneStep reports whether all of a stage is one step of a job, although its status, which tells
// the loss, is never the same.
func OneStep(stage string) bool { return stage == "train" || stage == "tune" }

// StageWait is the stage of a job whose turn has not come; the others are the plugin's.
const StageWait = "wait"

// States of a job.
const (
	Running = "running"
	Stopped = "stopped" // can be resumed by asking for it again
	Failed  = "failed"  // likewise
	Done    = "done"
)

// Kinds of job.
const (
	KindPrune    = "prune"
	KindProfile  = "profile"
	KindEvaluate = "evaluate"
	KindSweep    = "sweep"
	KindMerge    = "merge"
)

// Job is an entry of GET /api/prune/jobs.
type Job struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"` // "prune", "profile", "evaluate", "sweep" or "merge"
	Model   string    `json:"model"`
	Name    string    `json:"name,omitempty"`
	What    string    `json:"what"` // of a prune job "25%", "8 layers" or "20-27"; else what sets it apart
	DryRun  bool      `json:"dry_run,omitempty"`
	State   string    `json:"state"`
	Error   string    `json:"error,omitempty"`
	Created string    `json:"created"` // RFC 3339
	Last    *Progress `json:"last,omitempty"`
}

// Selection turns the request's words into the contract's, or says which field
// is wrong.
func (r *PruneRequest) Selection() (plugin.Selection, error) {
	s := plugin.Selection{Criterion: r.Criterion, Tokens: r.Tokens}
	given := 0
	if r.Drop != nil {
		given++
		s.Rate = *r.Drop
		if !(s.Rate > 0 && s.Rate < 1) {
			return s, plugin.Errorf(plugin.Invalid, "drop is %v; give a share of the layers between 0 and 1 (10%% to 40%% is usual)", *r.Drop)
		}
	}
	if r.Layers != nil {
		given++
		s.Layers = *r.Layers
		if s.Layers < 1 {
			return s, plugin.Errorf(plugin.Invalid, "layers is %d; at least one must go", s.Layers)
		}
	}
	if r.Range != "" {
		given++
		var err error
		if s.Remove, err = layers.Parse(r.Range); err != nil {
			return s, plugin.Errorf(plugin.Invalid, "range: %w", err)
		}
	}
	if given != 1 {
		return s, plugin.Errorf(plugin.Invalid, "say how much to remove with exactly one of drop, layers and range")
	}
	if r.Protect != "" {
		var err error
		if s.Protect, err = layers.Parse(r.Protect); err != nil {
			return s, plugin.Errorf(plugin.Invalid, "protect: %w", err)
		}
	}
	return s, nil
}
