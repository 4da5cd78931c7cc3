package plugin

import "fmt"

// A Point is a place in the residual stream: x_Layer, what enters that layer, or
// with Attended what the layer's attention made of it, to which its feed-forward
// is added. Layer = L is x_L, which the final norm reads, and never Attended.
type Point struct {
	Layer    int
	Attended bool
}

// An ObserveRequest asks what a model computes on its way through sequences of
// tokens, each from an empty context: the residual stream at some points, and what
// it finds likely to come next. Training a smaller model takes both.
type ObserveRequest struct {
	Model     string // name
	Variant   Variant
	Sequences [][]int32
	Points    []Point // in the order of the forward pass
	Top       int     // of how many tokens, the most likely ones after each position, to tell the probability; 0 for none
}

// An Observation is what a model computed for one sequence of T tokens.
type Observation struct {
	Sequence   int
	States     [][]float32 // by point; T×H, row by row
	TopTokens  []int32     // T×Top, row by row, the most likely first
	TopLogProb []float32   // T×Top: natural logarithms of their probabilities
	Seconds    float64     // that the forward pass took
}

// Validate reports whether o answers r, so that an observation from another
// process can be indexed without fear. It returns the hidden width H.
func (o *Observation) Validate(r ObserveRequest) (hidden int, err error) {
	if o.Sequence < 0 || o.Sequence >= len(r.Sequences) {
		return 0, fmt.Errorf("observation of sequence %d of %d", o.Sequence, len(r.Sequences))
	}
	tokens := len(r.Sequences[o.Sequence])
	if tokens == 0 {
		return 0, fmt.Errorf("observation of sequence %d, which is empty", o.Sequence)
	}
	if len(o.States) != len(r.Points) {
		return 0, fmt.Errorf("observation of sequence %d has %d points, not %d", o.Sequence, len(o.States), len(r.Points))
	}
	for _, s := range o.States {
		if len(s) == 0 || len(s)%tokens != 0 || hidden != 0 && len(s) != hidden*tokens {
			return 0, fmt.Errorf("observation of sequence %d has %d numbers for %d tokens", o.Sequence, len(s), tokens)
		}
		hidden = len(s) / tokens
	}
	if len(o.TopTokens) != tokens*r.Top || len(o.TopLogProb) != tokens*r.Top {
		return 0, fmt.Errorf("observation of sequence %d has %d and %d likely tokens, not %d", o.Sequence, len(o.TopTokens), len(o.TopLogProb), tokens*r.Top)
	}
	return hidden, nil
}

// A Message is one turn of a chat.
type Message struct {
	Role    string `json:"role"` // "system", "user", "assistant"
	Content string `json:"content"`
}

// A Transcript is a chat as tokens in the model's own template. Answer marks those
// of the assistant's words, with the token that ends each of its turns.
type Transcript struct {
	Tokens []int32
	Answer []bool // one for each token
}
