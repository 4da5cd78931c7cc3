package repair

// An Example is one sequence of T tokens to train on, packed from one or more
// documents that do not see each other. All slices but the last four have T entries.
type Example struct {
	Tokens   []int32
	Segment  []int32   // number of the document within the example, from 1; 0 is padding
	Position []int32   // within its document, from 0
	Target   []int32   // the token that follows
	Weight   []float32 // of the loss of that prediction: 0 for padding, for the last token of a document, and for words that are not to be learnt

	State      []float32 // T×H: what enters the first trained layer; nil if training begins at the embedding
	Aim        []float32 // T×H: the uncut model's last residual; nil unless the loss is LossHidden
	TopTokens  []int32   // T×K: the most likely next tokens by the uncut model; nil unless the loss is LossDistill
	TopLogProb []float32 // T×K: their log-probabilities
}

// A Source holds examples; reading the same one twice gives the same.
type Source interface {
	Len() int
	Read(i int) (Example, error)
}
