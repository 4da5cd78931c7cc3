package plugin

import (
	"fmt"
	"math"
)

// A Variant is a way to run a model: a GGUF, and layers that are left out while
// it runs. The residual stream entering the first of some adjacent left-out layers
// goes straight into the layer after them, as if they had been cut out of the
// file; nothing of them is computed. The zero Variant is the model of the
// request, whole.
type Variant struct {
	Path   string // of a GGUF in a folder the host gave to the plugin, in place of the request's model
	Model  string // name of another served model, in its place; only where Path is ""
	Digest string // of the GGUF that Model must have; "" for any
	Bypass []int  // layers to leave out, 0-based and sorted
}

// A Sequence is run through a model from an empty context. Wanted is how probable
// the model found each of Tokens[From:], given all tokens before it: 1 <= From <
// len(Tokens). Sequences that begin alike are best listed one after another: what
// they share is computed once.
type Sequence struct {
	Tokens []int32
	From   int
}

// A ScoreRequest asks for the log-probabilities of given tokens. With Compare
// each variant is held against the first one, on the same tokens; all must have
// the same vocabulary.
type ScoreRequest struct {
	Model     string // name
	Variants  []Variant
	Sequences []Sequence
	Compare   bool
}

// A Score is what one variant made of one sequence. LogProb has one entry for each
// of the sequence's Tokens[From:]; so have KL and Agree with Compare, where those of
// the first variant are 0 and true, and without it they are nil. LogProb is
// never below -100 nor KL above 100: both are there where a variant other than the
// first is broken, as leaving layers out can do, so that what it computes is no number.
type Score struct {
	Sequence int       // index in the request
	Variant  int       // index in the request
	LogProb  []float32 // natural logarithm of the probability of the token
	KL       []float32 // Σ p₀ ln(p₀/p) over the vocabulary, nats: KL divergence of this variant's p from the first one's p₀
	Agree    []bool    // this variant and the first one find the same token most likely
	Computed int       // tokens computed for it, fewer than it has where a beginning was shared
	Seconds  float64   // that the forward pass took
}

// Validate reports whether s answers r, so that a score from another process can
// be indexed, and index the request, and be added up without fear.
func (s *Score) Validate(r ScoreRequest) error {
	if s.Sequence < 0 || s.Sequence >= len(r.Sequences) {
		return fmt.Errorf("score of sequence %d of %d", s.Sequence, len(r.Sequences))
	}
	if s.Variant < 0 || s.Variant >= len(r.Variants) {
		return fmt.Errorf("score of variant %d of %d", s.Variant, len(r.Variants))
	}
	wanted := r.Sequences[s.Sequence]
	scored := len(wanted.Tokens) - wanted.From
	compared := 0
	if r.Compare {
		compared = scored
	}
	if len(s.LogProb) != scored || len(s.KL) != compared || len(s.Agree) != compared {
		return fmt.Errorf("score of sequence %d has %d log-probabilities, %d divergences and %d agreements, not %d, %d and %d",
			s.Sequence, len(s.LogProb), len(s.KL), len(s.Agree), scored, compared, compared)
	}
	for _, values := range [][]float32{s.LogProb, s.KL} {
		for _, v := range values {
			if !finite(float64(v)) {
				return fmt.Errorf("score of sequence %d by variant %d holds a %g", s.Sequence, s.Variant, v)
			}
		}
	}
	if s.Computed < 0 || !(s.Seconds >= 0) || !finite(s.Seconds) {
		return fmt.Errorf("score of sequence %d by variant %d: %d tokens computed in %g seconds", s.Sequence, s.Variant, s.Computed, s.Seconds)
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// A GenerateRequest asks for answers. Each prompt is the only message of a chat
// in the model's own template, or with Raw the beginning of a text to go on with. Variants take turns, prompt by prompt, so that
// a change in the machine's load falls on all of them and their speeds can be
// compared. With Parallel > 1 they take turns a few times as many prompts at a time,
// answers come in the order in which they end, and each is drawn with a seed of its own,
// which follows from Seed and the prompt's index: the same request has the same answers
// again, save for what rounding does where several are computed at once. Fewer than
// Parallel are under way where they are too long for that.
type GenerateRequest struct {
	Model       string // name
	Variants    []Variant
	Prompts     []string
	Raw         bool
	MaxTokens   int     // of an answer, at least 1
	Temperature float64 // 0: the most likely token, always
	Seed        uint32
	Parallel    int // answers under way at a time, of one variant: faster together, and each slower; 0 for 1
}

// An Answer is what one variant made of one prompt.
type Answer struct {
	Prompt        int     // index in the request
	Variant       int     // index in the request
	Text          string  // valid UTF-8
	Tokens        int     // generated
	Ended         bool    // the model ended it; else it reached MaxTokens, or logits that are no numbers
	PromptTokens  int     // computed
	PromptSeconds float64 // from the start of the prompt to the first generated token
	Seconds       float64 // for the generated tokens after the first
}

// Validate reports whether a answers r, so that an answer from another process
// can index the request, and be added up, without fear.
func (a *Answer) Validate(r GenerateRequest) error {
	if a.Prompt < 0 || a.Prompt >= len(r.Prompts) {
		return fmt.Errorf("answer to prompt %d of %d", a.Prompt, len(r.Prompts))
	}
	if a.Variant < 0 || a.Variant >= len(r.Variants) {
		return fmt.Errorf("answer of variant %d of %d", a.Variant, len(r.Variants))
	}
	if a.Tokens < 0 || a.PromptTokens < 0 {
		return fmt.Errorf("answer to prompt %d has %d tokens, to %d of the prompt", a.Prompt, a.Tokens, a.PromptTokens)
	}
	for _, seconds := range []float64{a.PromptSeconds, a.Seconds} {
		if !(seconds >= 0) || !finite(seconds) {
			return fmt.Errorf("answer to prompt %d took %g seconds", a.Prompt, seconds)
		}
	}
	return nil
}

// A Footprint is the memory that a model takes while it runs, in bytes, measured
// in a process of its own that has just evaluated a prompt of ContextTokens tokens.
type Footprint struct {
	Resident      int64 `json:"resident"`     // of the process, weights mapped from the file included; 0 where it cannot be measured
	Device        int64 `json:"device"`       // on GPUs, 0 where there is none
	KVPerToken    int64 `json:"kv_per_token"` // of the context: keys and values of one token over all layers, in F16
	ContextTokens int   `json:"context_tokens"`
}
