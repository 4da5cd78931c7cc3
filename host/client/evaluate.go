package client

import (
	"pare/plugin"
	"pare/plugin/layers"
)

// Evaluate says how a model is judged. All fields may be left out.
type Evaluate struct {
	Level      string             `json:"level,omitempty"`      // "none", "quick" (default) or "full"
	Corpus     *Corpus            `json:"corpus,omitempty"`     // text to score instead of Pare's own
	Tasks      []Corpus           `json:"tasks,omitempty"`      // multiple-choice questions instead of Pare's own
	Thresholds *plugin.Thresholds `json:"thresholds,omitempty"` // of the verdict
}

// EvaluateRequest is the body of POST /api/prune/evaluate: judge a model alone,
// against another, or as it would be without some layers.
type EvaluateRequest struct {
	Model  string `json:"model"`
	Other  string `json:"other,omitempty"`
	Bypass string `json:"bypass,omitempty"` // layers to run Model without, "20-27" or "3,20-27"
	Evaluate
	Stream *bool `json:"stream,omitempty"`
}

// SweepRequest is the body of POST /api/prune/sweep: what removing more and more
// layers would cost, by several criteria. No file is made.
type SweepRequest struct {
	Model     string    `json:"model"`
	Rates     []float64 `json:"rates,omitempty"`    // shares of the layers; 0.1 to 0.5 by default
	Criteria  []string  `json:"criteria,omitempty"` // auto, angular, influence and deepest by default
	Seeds     int       `json:"seeds,omitempty"`    // choose on so many halves of the text; 1 (default) on all of it
	Protect   string    `json:"protect,omitempty"`
	Tolerance float64   `json:"tolerance,omitempty"`  // propose the largest cut whose perplexity rises no more, 0.1 for 10%
	EachLayer bool      `json:"each_layer,omitempty"` // also what each single layer is for
	Corpus    *Corpus   `json:"corpus,omitempty"`     // text to choose by, as in PruneRequest
	Evaluate  *Evaluate `json:"evaluate,omitempty"`   // its Tasks are for evaluations alone
	Stream    *bool     `json:"stream,omitempty"`
}

// PreviewRequest is the body of POST /api/prune/preview: ask a model as if some
// layers had been cut out. It answers like /api/generate.
type PreviewRequest struct {
	Model    string         `json:"model"`
	Bypass   string         `json:"bypass,omitempty"` // "20-27" or "3,20-27"; none for the model as it is
	Prompt   string         `json:"prompt,omitempty"`
	Messages []Message      `json:"messages,omitempty"` // or a chat
	System   string         `json:"system,omitempty"`
	Raw      bool           `json:"raw,omitempty"`     // take the prompt without the model's template
	Options  map[string]any `json:"options,omitempty"` // as of /api/generate
	Stream   *bool          `json:"stream,omitempty"`
}

// Message is a turn of a chat.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// PreviewReply is a line of the answer: those of /api/generate.
type PreviewReply struct {
	Model              string `json:"model"`
	CreatedAt          string `json:"created_at"`
	Response           string `json:"response"`
	Done               bool   `json:"done"`
	DoneReason         string `json:"done_reason,omitempty"`    // "stop" or "length"
	TotalDuration      int64  `json:"total_duration,omitempty"` // nanoseconds, as all of them
	PromptEvalCount    int    `json:"prompt_eval_count,omitempty"`
	PromptEvalDuration int64  `json:"prompt_eval_duration,omitempty"`
	EvalCount          int    `json:"eval_count,omitempty"`
	EvalDuration       int64  `json:"eval_duration,omitempty"`
	Error              string `json:"error,omitempty"`
	Code               int    `json:"code,omitempty"`
}

// ScoreRequest is the body of POST /api/prune/score: the log-probabilities of
// given text or tokens, with some layers left out.
type ScoreRequest struct {
	Model   string   `json:"model"`
	Text    string   `json:"text,omitempty"`
	Tokens  []int32  `json:"tokens,omitempty"`
	Bypass  []string `json:"bypass,omitempty"`  // each a set of layers to try, "20-27"; none for the model as it is
	Context int      `json:"context,omitempty"` // cut into chunks of so many tokens, and score the second half of each
}

// ScoreReply is its answer: the whole model first, then one entry for each set.
type ScoreReply struct {
	Tokens   []int32       `json:"tokens"`
	Variants []ScoreSeries `json:"variants"`
}

// ScoreSeries is what one variant made of the tokens.
type ScoreSeries struct {
	Bypass     string    `json:"bypass"`
	Perplexity float64   `json:"perplexity"` // over the scored tokens
	Scored     int       `json:"scored"`
	LogProbs   []float32 `json:"log_probs"` // of each scored token, natural logarithm
	KL         float64   `json:"kl"`        // mean divergence from the whole model, nats
	Agreement  float64   `json:"agreement"` // share of tokens with the same one most likely
}

// Layers reads a list of layers of a field.
func Layers(field, list string) ([]int, error) {
	if list == "" {
		return nil, nil
	}
	set, err := layers.Parse(list)
	if err != nil {
		return nil, plugin.Errorf(plugin.Invalid, "%s: %w", field, err)
	}
	return set, nil
}
