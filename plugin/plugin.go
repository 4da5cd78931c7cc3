// Package plugin is the contract between Pare's server and the plugins that
// know how to make a model smaller.
//
// The server (package host) serves models, traces them at work and keeps the
// store; it knows nothing about the method. A plugin holds the method: it turns
// traces into a profile, a profile into a plan, and a plan into a smaller GGUF.
// It runs as a child process, so that a crash costs one job and never the
// server, and another plugin can take its place without a change to the server.
//
// A plugin implements [Pruner] and calls [Serve] from its main function. What
// it needs of the server while it works comes as a [Host]. The server starts it
// with [Launch]. In between is gRPC over a local socket, with mutual TLS; the
// messages are in internal/pb and seen by the translators of this package only.
package plugin

import "context"

// Pruner is what a plugin implements.
//
// Prune and Profile report their progress by calling event, from one goroutine
// at a time, and stop with ctx.Err() soon after ctx is done. Everything they
// keep is in the folders they are given; called again with the same request
// after a crash or a cancel, they go on from what is there. The server deletes
// files there whose names begin with a dot: they are half-written.
type Pruner interface {
	// Describe tells what the plugin can do.
	Describe(ctx context.Context) (Description, error)

	// Profile measures a model, or returns the kept profile where it answers
	// the request already.
	Profile(ctx context.Context, r ProfileRequest, h Host, event func(Event)) (Profile, error)

	// Plan chooses layers from a kept profile; nothing is written.
	Plan(ctx context.Context, r PlanRequest) (Plan, error)

	// Prune does a whole job: profile, plan, cut, register.
	Prune(ctx context.Context, j Job, h Host, event func(Event)) (Report, error)
}

// Host is what the server lends to a plugin while a call runs.
type Host interface {
	// Model looks a served model up by name.
	Model(ctx context.Context, name string) (Model, error)

	// Trace runs each text through the server's normal inference and calls
	// each with what was measured, once per text, or once per group of texts
	// where the server computes several at a time. The order of the calls is
	// not that of the texts; TraceDelta.Texts tells which they were.
	Trace(ctx context.Context, r TraceRequest, each func(TraceDelta) error) error

	// Register moves a finished GGUF into the store and names it.
	Register(ctx context.Context, r RegisterRequest) (Model, error)
}

// A Description tells what a plugin is and can do.
type Description struct {
	Name     string
	Version  string
	Criteria []string // accepted in Selection.Criterion, the default first
}

// A Model is a model in the server's store.
type Model struct {
	Name   string // as Ollama prints it, "smollm2:latest"
	Digest string // of its GGUF, "sha256:…"
	Path   string // of its GGUF; never to be written to
	Size   int64  // of its GGUF, bytes
}

// A Selection says how much of a model to remove, and by what rule. One of
// Rate, Layers and Remove is set.
type Selection struct {
	Rate      float64 // share of the layers, 0 < Rate < 1; round(Rate*L), at least 1
	Layers    int     // number of layers
	Remove    []int   // exactly these layers, 0-based
	Criterion string  // "" for the plugin's default
	Tokens    string  // which tokens' distances: "all" (default) or "last"
	Protect   []int   // layers that must stay; the last one always does unless Remove names it
}

// A Corpus is text to trace: plain text or JSONL, in a file the host keeps for
// as long as the job. A Corpus with the name "default" and no path is the
// plugin's own; the zero Corpus is what the kept profile covers, or the
// plugin's own where none is kept.
type Corpus struct {
	Name string
	Path string
}

// A ProfileRequest asks for a model's profile.
type ProfileRequest struct {
	Model  string // name
	Folder string // where profiles are kept, one folder a model; see Profile
	Corpus Corpus
	Add    bool // add Corpus to what the kept profile covers, instead of replacing it
}

// A PlanRequest asks which layers would go.
type PlanRequest struct {
	Model     string // digest of the GGUF
	Path      string // of the GGUF
	Folder    string // where profiles are kept
	Selection Selection
}

// A Job is a request to make a smaller model. A corpus of its own is for this job
// alone and leaves the kept profile as it is.
type Job struct {
	ID        string
	Folder    string // of this job alone; the plugin keeps its work here
	Profile   ProfileRequest
	Selection Selection
	Name      string // of the model to be made
	Force     bool   // replace a model of that name
	DryRun    bool   // stop at the plan
}

// An Event is one step of progress. Stage names what runs now: "trace",
// "profile", "plan", "cut", "register"; the server adds "wait" and "plugin".
// Completed and Total are in bytes of text (trace) or of the file (cut); Total is
// 0 where nothing is counted.
type Event struct {
	Stage     string
	Status    string
	Completed int64
	Total     int64
}

// A TraceRequest asks the host to run texts through a model.
type TraceRequest struct {
	Model string // name
	Texts []Text
}

// A Text is one piece of a corpus, short enough for the model's context.
type Text struct {
	Digest string // identifies it in TraceDelta.Texts
	Text   string
}

// A RegisterRequest gives a finished GGUF a name. The file at Path is moved
// into the store; it must be in a folder the host gave to the plugin.
type RegisterRequest struct {
	Parent string // name of the model whose template, parameters, … it takes over
	Name   string
	Path   string
	Digest string // of the file, "sha256:…"
	Force  bool
}
