package score

import (
	"context"
	"errors"
	"fmt"

	"pare/plugin"
)

// A Model is a GGUF and the way to run it.
type Model struct {
	Path    string
	Bypass  []int // layers left out, 0-based and sorted
	Threads int   // 0: as many as Ollama would use
}

// Sampling says how tokens are chosen, in the terms of Ollama's options. With a
// Temperature of 0 it is always the most likely one, after the penalties; a
// RepeatPenalty of 0 is taken for 1, which is none, and so are a TopP and a
// TypicalP of 0.
type Sampling struct {
	Temperature      float32
	TopK             int
	TopP             float32
	MinP             float32
	TypicalP         float32
	RepeatLastN      int
	RepeatPenalty    float32
	PresencePenalty  float32
	FrequencyPenalty float32
	Seed             uint32
}

// A Generation is a prompt to go on from.
type Generation struct {
	Model     Model
	Beside    []Model  // stay loaded too, for the requests that follow
	Prompt    string   // rendered by the model's template; special tokens in it count
	Stop      []string // end the answer and are no part of it
	MaxTokens int      // of the answer; 0 or less: as many as the context takes
	Sampling  Sampling
	Continue  bool // go on from the answer before, where the prompt begins with it: only the rest is computed
}

// Answers are wanted to several prompts, which are answered several at a time.
type Answers struct {
	Model     Model
	Beside    []Model // stay loaded too, for the requests that follow
	Prompts   []Prompt
	Stop      []string // end an answer and are no part of it
	MaxTokens int      // of each answer, at least 1
	Sampling  Sampling // Seed is that of the prompt number 0; the others' follow from it
	Parallel  int      // at most so many at a time; fewer where prompts and answers are long
}

// A Prompt is one of several to go on from.
type Prompt struct {
	Number int    // given back as the Answer's Prompt; what is drawn for the answer depends on it
	Text   string // rendered by the model's template; special tokens in it count
}

// A Request is what the server sends. One of the pointers is set, or Cancel.
// The process answers each but a cancel with replies of which the last is Done.
type Request struct {
	ID         uint64
	Cancel     bool // of the request with this ID, if it still runs
	Open       *Open
	Tokenize   *Tokenize
	Transcribe *Transcribe
	Score      *Score
	Observe    *Observe
	Generate   *Generation
	Answers    *Answers
	Footprint  *Footprint
	Floats     *Floats
}

// Open loads models and lets go of all others. It is answered by one Opened for each.
type Open struct {
	Models  []Model
	Context int  // tokens that a context must take
	Again   bool // load those that did not fit into the memory of GPUs anew
}

// Opened tells where a model went.
type Opened struct {
	Path      string
	Layers    int  // with one for the output
	Offloaded int  // of Layers, to GPUs
	Short     bool // memory does not suffice for all of it
}

// partly reports whether some layers are not on GPUs though there is too little memory
// for them there alone.
func (o *Opened) partly() bool { return o != nil && o.Short && o.Offloaded < o.Layers }

// Tokenize turns texts into tokens.
type Tokenize struct {
	Path    string
	Texts   []string
	Special bool // names of special tokens in a text stand for them
}

// Transcribe turns chats into tokens.
type Transcribe struct {
	Path  string
	Chats []Chat
}

// A Chat is what a template made of one, in which names of special tokens stand for
// them.
type Chat struct {
	Text    string
	Answers [][2]int // the assistant's words, as bytes of Text: from, to
	Ends    bool     // the last of them end it: what follows in Text is only there to tell the token that ends a turn
}

// Observe runs sequences through a model that leaves out no layers.
type Observe struct {
	Model     Model
	Sequences [][]int32
	First     int // number of the first of Sequences in what is asked of the pool
	Points    []plugin.Point
	Top       int
}

// Score runs sequences through variants, a group at a time.
type Score struct {
	Variants  []Model
	Sequences []plugin.Sequence
	Compare   bool
}

// Footprint measures one model in a process that does nothing else. It is answered
// by an Opened, too.
type Footprint struct {
	Path string
}

// Floats computes the numbers of quantised data.
type Floats struct {
	Type uint32 // its number in ggml
	Data []byte
}

// A Reply is what the process sends.
type Reply struct {
	Opened      *Opened
	Tokens      [][]int32
	Transcripts []plugin.Transcript
	Score       *plugin.Score
	Observation *Observation
	Text        string // of an answer, whole characters
	Answer      *plugin.Answer
	Footprint   *plugin.Footprint
	Floats      []byte // float32 in little-endian order
	Done        bool   // nothing else follows
	Failure     *Failure
}

// A Failure is an error on the wire; its reply is Done.
type Failure struct {
	Kind     plugin.Kind
	Sentence string
	Canceled bool
}

// Fail makes the failure that tells of err.
func Fail(err error) *Failure {
	return &Failure{Kind: plugin.KindOf(err), Sentence: err.Error(), Canceled: errors.Is(err, context.Canceled)}
}

func (f *Failure) err() error {
	if f.Canceled {
		return context.Canceled
	}
	return &plugin.Error{Kind: f.Kind, Err: errors.New(f.Sentence)}
}

// check refuses what no model could answer, before any is loaded.
func check(variants []Model, sequences []plugin.Sequence) error {
	if len(variants) == 0 {
		return plugin.Errorf(plugin.Invalid, "score: no variant is given; give one or more")
	}
	for _, v := range variants {
		if err := v.check(); err != nil {
			return err
		}
	}
	for i, s := range sequences {
		switch n := len(s.Tokens); {
		case n < 2:
			return plugin.Errorf(plugin.Invalid, "score sequence %d: %d tokens; it takes two or more, as the first is never scored", i, n)
		case s.From < 1 || s.From >= n:
			return plugin.Errorf(plugin.Invalid, "score sequence %d: From is %d; of %d tokens it must be 1 to %d", i, s.From, n, n-1)
		}
	}
	return nil
}

// check refuses what no model could answer.
func (o *Observe) check() error {
	if err := o.Model.check(); err != nil {
		return err
	}
	if len(o.Model.Bypass) > 0 {
		return plugin.Errorf(plugin.Unsupported, "observe a model without its layers %v: only a file can be observed from which they were cut", o.Model.Bypass)
	}
	if o.Top < 0 || o.Top == 0 && len(o.Points) == 0 {
		return plugin.Errorf(plugin.Invalid, "observe %d points and the %d most likely tokens; give a point, or how many tokens", len(o.Points), o.Top)
	}
	for i, p := range o.Points {
		if p.Layer < 0 || i > 0 && !before(o.Points[i-1], p) {
			return plugin.Errorf(plugin.Invalid, "observe the points %v: give each once, in the order of the forward pass, from layer 0", o.Points)
		}
	}
	for i, s := range o.Sequences {
		if len(s) == 0 {
			return plugin.Errorf(plugin.Invalid, "observe sequence %d: it is empty; give it some tokens", i)
		}
	}
	return nil
}

// before reports whether a forward pass comes to a before it comes to b.
func before(a, b plugin.Point) bool {
	return a.Layer < b.Layer || a.Layer == b.Layer && !a.Attended && b.Attended
}

// check refuses what no model could answer.
func (a *Answers) check() error {
	if err := a.Model.check(); err != nil {
		return err
	}
	if len(a.Prompts) == 0 || a.Parallel < 1 || a.MaxTokens < 1 {
		return plugin.Errorf(plugin.Invalid, "answer %d prompts, %d at a time, with %d tokens each: give at least one of each", len(a.Prompts), a.Parallel, a.MaxTokens)
	}
	return nil
}

func (m Model) check() error {
	if m.Path == "" {
		return errors.New("score: a variant without the path of a model")
	}
	for i, l := range m.Bypass {
		if l < 0 || i > 0 && l <= m.Bypass[i-1] {
			return plugin.Errorf(plugin.Invalid, "leave out layers %s: give each layer once, in ascending order, from 0", fmt.Sprint(m.Bypass))
		}
	}
	return nil
}
