package plugin

// Ways to repair, in Repair.Method.
const (
	RepairNone        = "none"
	RepairLinear      = "linear"       // a linear map in closed form, folded into the layer before the cut (ReplaceMe, arXiv 2505.02819)
	RepairQLoRA       = "qlora"        // low-rank adapters trained over the quantised weights (arXiv 2305.14314), merged
	RepairLinearQLoRA = "linear+qlora" // one, then the other; the default
	RepairPartial     = "partial"      // the output head and the last layers trained in full (arXiv 2411.15558)
	RepairFull        = "full"         // all layers trained in full
)

// Losses to train by, in Repair.Loss.
const (
	LossDistill = "distill" // KL divergence to the uncut model's probabilities; the default
	LossNext    = "next"    // cross-entropy of the next token
	LossHidden  = "hidden"  // mean squared error to the uncut model's last residual, in units of its size
)

// DataSelf is the name of the Corpus that the uncut model writes itself.
const DataSelf = "self"

// Repair says how a cut model is healed. The zero value is the default chain with
// settings by the share of layers removed; a zero field takes its default.
type Repair struct {
	Method string `json:"method"`
	Data   Corpus `json:"-"`      // text, JSONL or chats to train on; zero for answers of the uncut model itself
	Loss   string `json:"loss"`   // LossDistill, LossNext or LossHidden
	Preset string `json:"preset"` // "pare" (default) or "review": where settings that are not given come from

	Targets string  `json:"targets"` // "all" (default) linear maps of a layer, "ffn" or "attention"
	Layers  string  `json:"layers"`  // "above" the cut and the one before it (default), "all", or "window:N", N layers each side of a cut
	Rank    int     `json:"rank"`
	Alpha   float64 `json:"alpha"`   // the adapter's product is scaled by Alpha/Rank
	Dropout float64 `json:"dropout"` // of what enters an adapter, 0..1
	Bits    int     `json:"bits"`    // of the frozen weights in training: 0 as stored, 4 or 8

	Steps        int     `json:"steps"`
	Batch        int     `json:"batch"`      // sequences a step
	Length       int     `json:"length"`     // tokens of a sequence
	Accumulate   int     `json:"accumulate"` // micro-batches that a step is made of; Batch divides by it
	LearningRate float64 `json:"learning_rate"`
	WarmUp       int     `json:"warm_up"` // steps
	Clip         float64 `json:"clip"`    // global norm of the gradient at most
	Seed         int64   `json:"seed"`

	Adapter  bool   `json:"adapter"`  // register the cut model with a LoRA adapter beside it instead of merging
	Quantize string `json:"quantize"` // type that the result is quantised to, in Ollama's names ("q4_K_M"); "" as the parent
}

// Unasked reports whether nobody asked for a repair: all that is said, if anything, is
// which type the result is stored in. Where none is possible the cut model is worth having.
func (r Repair) Unasked() bool { return r == Repair{Quantize: r.Quantize} }

// Repaired tells what a repair did.
type Repaired struct {
	Settings Repair       `json:"settings"` // with the defaults that were taken
	Data     []CorpusInfo `json:"data"`     // what was trained on
	Linear   []LinearFit  `json:"linear,omitempty"`
	Training *Training    `json:"training,omitempty"`
	Merge    *Merge       `json:"merge,omitempty"`
	Adapter  *Adapter     `json:"adapter,omitempty"` // in place of a merge, where one was asked for
	Stages   []StageScore `json:"stages"`            // of the same held-out text: uncut, cut, then after each step of the repair
	Notes    []string     `json:"notes,omitempty"`
}

// A LinearFit is the closed form at one run of removed layers. Errors are of the
// residual after the cut, on text that was not fitted to, as a share of the
// mean square of what the cut leaves to be made up for: 1 is the cut alone.
type LinearFit struct {
	Layer  int     `json:"layer"` // whose feed-forward took the map up, numbered as in the cut model
	Tokens int64   `json:"tokens"`
	Ridge  float64 `json:"ridge"` // added to the moments, a share of their mean diagonal
	Error  float64 `json:"error"`
}

// Training tells how a training went.
type Training struct {
	Trained    int64         `json:"trained_parameters"`
	Tokens     int64         `json:"tokens"` // seen
	Best       int           `json:"best_step"`
	Stopped    string        `json:"stopped,omitempty"` // why before the last step
	Curve      []TrainedStep `json:"curve"`
	Seconds    float64       `json:"seconds"`     // of all steps, without measuring the held-out loss
	PeakMemory int64         `json:"peak_memory"` // of the process, bytes; 0 where it cannot be measured
}

// TrainedStep is a point of a training's curve. Held is the loss on text that is
// not trained on, where it was measured after this step. Step 0 is before training:
// of it Held alone means something.
type TrainedStep struct {
	Step   int      `json:"step"`
	Loss   float64  `json:"loss"`
	Held   *float64 `json:"held_out,omitempty"`
	Rate   float64  `json:"learning_rate"`
	Norm   float64  `json:"gradient_norm"`
	Tokens float64  `json:"tokens_per_second"`
}

// Merge tells how trained changes went into the file.
type Merge struct {
	Tensors  int      `json:"tensors"`            // that changed
	Promoted []string `json:"promoted,omitempty"` // those stored in a wider type than before, and why
	Tuned    int      `json:"tuned,omitempty"`    // steps that scales and minima of the rounded blocks were tuned for
	Kept     float64  `json:"kept"`               // share of the gain in held-out loss that the file has, after rounding and tuning; 0 without a training
}

// An Adapter is what a training learnt, in a file of its own.
type Adapter struct {
	Tensors    int    `json:"tensors"` // of the model, that it changes
	Parameters uint64 `json:"parameters"`
	Bytes      int64  `json:"bytes"`
}

// A StageScore is what a stage of a repair is worth on text that it never saw.
type StageScore struct {
	Stage      string    `json:"stage"` // "uncut", "cut", "quantized", "widened", "closed form", "trained"
	Perplexity Estimate  `json:"perplexity"`
	Rise       *Estimate `json:"rise,omitempty"` // of the mean log-loss over the uncut model's, nats a token, paired; nil of that itself
	KL         Estimate  `json:"kl"`             // from the uncut model, nats a token
	Agreement  Estimate  `json:"agreement"`      // share of tokens
}
