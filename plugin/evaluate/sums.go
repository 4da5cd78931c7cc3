package evaluate

import "pare/plugin"

// Sums is what one variant made of one chunk of text, added up over its scored
// tokens: enough for every estimate here, and small enough to keep on disk.
type Sums struct {
	Tokens   int64   `json:"tokens"`             // scored
	NLL      float64 `json:"nll"`                // Σ -ln p, nats
	Compared bool    `json:"compared,omitempty"` // KL and Agree were measured
	KL       float64 `json:"kl,omitempty"`       // Σ KL divergence from the first variant, nats
	Agree    int64   `json:"agree,omitempty"`    // tokens where the most likely one is the first variant's
	Computed int64   `json:"computed"`           // tokens that went through the model
	Seconds  float64 `json:"seconds"`            // that took
}

// SumOf adds up a score.
func SumOf(s plugin.Score) Sums {
	sums := Sums{
		Tokens:   int64(len(s.LogProb)),
		Compared: s.KL != nil,
		Computed: int64(s.Computed),
		Seconds:  s.Seconds,
	}
	for _, p := range s.LogProb {
		sums.NLL -= float64(p)
	}
	for _, kl := range s.KL {
		sums.KL += float64(kl)
	}
	for _, same := range s.Agree {
		if same {
			sums.Agree++
		}
	}
	return sums
}

// A Chunk is a stretch of text that was scored in one go. Its tokens depend on
// each other; chunks are taken as independent.
type Chunk struct {
	Style  string `json:"style"`
	Before Sums   `json:"before"`
	After  *Sums  `json:"after,omitempty"` // of the same tokens; nil where one model alone is judged
}
