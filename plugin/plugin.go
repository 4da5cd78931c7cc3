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
// Methods that take a Host run long. They report their progress by calling
// event, from one goroutine at a time, and stop with ctx.Err() soon after ctx is
// done. Everything they keep is in the folders they are given; called again with
// the same request after a crash or a cancel, they go on from what is there. The
// server deletes files there whose names begin with a dot: they are half-written.
type Pruner interface {
	// Describe tells what the plugin can do.
	Describe(ctx context.Context) (Description, error)

	// Profile measures a model, or returns the kept profile where it answers
	// the request already.
	Profile(ctx context.Context, r ProfileRequest, h Host, event func(Event)) (Profile, error)

	// Plan chooses layers from what is kept of a model, or from its traffic; nothing
	// is run or written.
	Plan(ctx context.Context, r PlanRequest) (Plan, error)

	// Prune does a whole job: profile, plan, cut, repair, evaluate, register.
	Prune(ctx context.Context, j Job, h Host, event func(Event)) (Report, error)

	// Evaluate judges a model by itself, against another, or against itself
	// without some layers.
	Evaluate(ctx context.Context, r EvaluateRequest, h Host, event func(Event)) (Evaluation, error)

	// Sweep tries many cuts by leaving layers out at run time, and tells what
	// each would cost; no GGUF is written.
	Sweep(ctx context.Context, r SweepRequest, h Host, event func(Event)) (Sweep, error)

	// Merge makes a model that needs its LoRA adapter no more, and registers it.
	Merge(ctx context.Context, r MergeRequest, h Host, event func(Event)) (Merged, error)
}

// Host is what the server lends to a plugin while a call runs. Errors are of a
// [Kind]; what a callback named each returns ends the call and comes back as it is.
type Host interface {
	// Model looks a served model up by name. One with an adapter is Refused but to
	// the Merge that asked for it.
	Model(ctx context.Context, name string) (Model, error)

	// Trace runs each text through the server's normal inference and calls
	// each with what was measured, once per text, or once per group of texts
	// where the server computes several at a time. The order of the calls is
	// not that of the texts; TraceDelta.Texts tells which they were.
	Trace(ctx context.Context, r TraceRequest, each func(TraceDelta) error) error

	// Tokenize turns each text into tokens of the model's vocabulary, as the
	// server would a prompt of that text alone: the token that begins a prompt
	// comes first, where the model has one. Special tokens spelled out in a
	// text are read as plain text.
	Tokenize(ctx context.Context, model string, texts []string) ([][]int32, error)

	// Score runs tokens through variants of a model, in a process apart from
	// those that serve, and calls each once per sequence and variant. All
	// variants of a sequence are done before the next one begins, save for
	// sequences that begin alike: they are done together, in any order.
	Score(ctx context.Context, r ScoreRequest, each func(Score) error) error

	// Observe runs sequences through a variant of a model, in the same process as
	// Score, and calls each once per sequence, in any order.
	Observe(ctx context.Context, r ObserveRequest, each func(Observation) error) error

	// Transcribe turns chats into tokens by the model's own template. A model
	// without one is Refused.
	Transcribe(ctx context.Context, model string, chats [][]Message) ([]Transcript, error)

	// Generate has variants of a model answer prompts, in the same process as
	// Score, and calls each once per prompt and variant. All variants answer a
	// prompt before the next one begins, unless Parallel is above 1.
	Generate(ctx context.Context, r GenerateRequest, each func(Answer) error) error

	// Footprint measures the memory that a variant of the named model takes.
	// Bypass makes no difference: layers left out are in memory all the same.
	Footprint(ctx context.Context, model string, v Variant) (Footprint, error)

	// Floats computes the numbers of quantised data as ggml does, for the types whose
	// code books ggml alone holds. kind is the type's number in ggml, data whole blocks
	// of it, FloatsBytes at most. A type that is none of weights is Invalid.
	Floats(ctx context.Context, kind uint32, data []byte) ([]float32, error)

	// Register moves a finished GGUF into the store and names it.
	Register(ctx context.Context, r RegisterRequest) (Model, error)
}

// FloatsBytes bounds the data of a call of Host.Floats. The floats are up to twenty
// times as many bytes.
const FloatsBytes = 1 << 20

// A Description tells what a plugin is and can do.
type Description struct {
	Name     string
	Version  string
	Criteria []string // accepted in Selection.Criterion, the default first
	Repairs  []string // accepted in Repair.Method, the default first
}

// A Model is a model in the server's store.
type Model struct {
	Name   string // as Ollama prints it, "smollm2:latest"
	Digest string // of its GGUF, "sha256:…"
	Path   string // of its GGUF; never to be written to
	Size   int64  // of its GGUF, bytes

	Adapter File // its LoRA adapter, GGUF as well; zero: none
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
	Live bool // Path is no text, but what was measured of requests: see package traffic
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
	Check     bool   // only whether Selection.Remove names layers that may go: the plan has no scores, and no profile is read
	Corpus    Corpus // traffic to choose by; the zero Corpus for the kept profile
}

// A Job is a request to make a smaller model. A corpus of its own is for this job
// alone and leaves the kept profile as it is.
type Job struct {
	ID        string
	Folder    string // of this job alone; the plugin keeps its work here
	Profile   ProfileRequest
	Selection Selection
	Name      string   // of the model to be made; "" to judge it and keep nothing
	Force     bool     // replace a model of that name
	DryRun    bool     // stop at the plan
	Repair    Repair   // how what is left is healed
	Evaluate  Evaluate // how the result is judged
}

// An Event is one step of progress. Stage names what runs now: "trace",
// "profile", "try" (candidates are run without their layers), "plan", "cut",
// "quantize" (the cut model is stored in other types), "answer" (the model writes what
// it is repaired with), "observe", "fit" (closed form), "train", "merge", "tune" (scales
// are trained), "evaluate", "sweep", "register"; the server adds "wait"
// and "plugin". Completed and Total are in bytes of text (trace), bytes of the file
// (cut, quantize, merge), tokens (try, answer, observe, evaluate, sweep) or steps (train,
// tune); Total is 0 where nothing is counted.
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
	Parent string // name of the model whose template, parameters, … it takes over, but no adapter
	Name   string
	Path   string
	Digest string // of the file, "sha256:…"
	Force  bool

	Adapter File // a LoRA adapter in GGUF that belongs beside it; zero: none
}

// A File is one with its digest, "sha256:…".
type File struct{ Path, Digest string }
