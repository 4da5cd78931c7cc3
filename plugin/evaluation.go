package plugin

// EvaluationVersion is the version of evaluations and sweeps.
const EvaluationVersion = 1

// Levels of an evaluation, in Evaluate.Level.
const (
	LevelNone  = "none"
	LevelQuick = "quick" // a sample of each style of text and kind of task; minutes on a CPU for a small model
	LevelFull  = "full"  // all of it
)

// Evaluate says how a model is judged. The zero value is a quick evaluation on
// Pare's own text and tasks.
type Evaluate struct {
	Level      string   // LevelNone, LevelQuick (also "") or LevelFull
	Corpus     Corpus   // text to score; zero for Pare's own. Of a corpus that a plan was made from, only the part held out is scored
	Tasks      []Corpus // multiple-choice questions, one file a kind; none for Pare's own
	Thresholds Thresholds
}

// Thresholds decide the verdict. The first two are for a model to be kept as it
// is, the others for one worth repairing. A zero field takes its default.
type Thresholds struct {
	KeepKL     float64 `json:"keep_kl"`     // highest mean KL divergence from the uncut model, nats a token
	KeepLoss   float64 `json:"keep_loss"`   // highest share of the right answers lost, 0..1
	RepairKL   float64 `json:"repair_kl"`   // as KeepKL
	RepairLoss float64 `json:"repair_loss"` // highest share lost of the right answers beyond those that guessing gets, 0..1
}

// An Estimate is a figure measured on a sample, with its standard error and the
// bounds of its 95% interval.
type Estimate struct {
	Value float64 `json:"value"`
	Error float64 `json:"standard_error"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// An Evaluation holds a model, After, against the one it was made from, Before,
// both run on the same tokens; or it tells of one model alone, Before. It is part
// of a job's report.
type Evaluation struct {
	Version    int          `json:"version"`
	Level      string       `json:"level"`
	Before     Measured     `json:"before"`
	After      *Measured    `json:"after,omitempty"` // nil if one model alone was judged
	Text       []TextScore  `json:"text"`            // by style; the first, "all", over all of them
	Tasks      []TaskScore  `json:"tasks,omitempty"` // by kind; the first, "all", over all of them
	Generation *Generation  `json:"generation,omitempty"`
	Speed      *SpeedRatio  `json:"speed,omitempty"`
	Verdict    *Verdict     `json:"verdict,omitempty"`
	Corpora    []CorpusInfo `json:"corpora"`         // what was scored
	Protocol   string       `json:"protocol"`        // how the text was cut up and what was scored of it
	Notes      []string     `json:"notes,omitempty"` // what a person should know before trusting it
}

// Measured is one side of an evaluation.
type Measured struct {
	ModelInfo
	Bypass     []int      `json:"bypass,omitempty"` // layers it was run without
	Footprint  *Footprint `json:"footprint,omitempty"`
	Prompt     float64    `json:"prompt_tokens_per_second,omitempty"`     // median over prompts
	Generation float64    `json:"generation_tokens_per_second,omitempty"` // median over prompts
}

// TextScore is what was measured on one style of text. The chunk is the unit of
// the standard errors: tokens within one are not independent.
type TextScore struct {
	Style  string `json:"style"`
	Chunks int    `json:"chunks"`
	Tokens int64  `json:"tokens"` // scored
	// Perplexity is exp(mean negative log-probability of a token).
	Before Estimate  `json:"perplexity_before"`
	After  *Estimate `json:"perplexity_after,omitempty"`
	// Rise is the mean log-probability that a token lost, nats; exp(Rise) is the
	// ratio of the perplexities. It is paired, token by token, and far more
	// certain than either of them.
	Rise      *Estimate `json:"rise,omitempty"`
	KL        *Estimate `json:"kl,omitempty"`        // mean KL divergence from the first model, nats a token
	Agreement *Estimate `json:"agreement,omitempty"` // share of tokens where both find the same one most likely
}

// TaskScore is the share of multiple-choice questions answered right: the choice
// whose log-probability is highest for its length.
type TaskScore struct {
	Name      string    `json:"name"`
	Questions int       `json:"questions"`
	Chance    float64   `json:"chance"` // share that guessing gets
	Before    Estimate  `json:"accuracy_before"`
	After     *Estimate `json:"accuracy_after,omitempty"`
	Change    *Estimate `json:"change,omitempty"` // after - before, paired by question
}

// Generation compares answers with those of the first model to the same prompts.
type Generation struct {
	Prompts          int      `json:"prompts"`
	ChrF             float64  `json:"chrf"`              // 0..100
	BLEU             float64  `json:"bleu"`              // 0..100
	RepetitionBefore float64  `json:"repetition_before"` // share of an answer's 4-grams of words that stand earlier in the same answer
	RepetitionAfter  float64  `json:"repetition_after"`
	LanguageChanged  int      `json:"language_changed"` // answers in another script or language than the first model's
	Samples          []Sample `json:"samples"`
}

// A Sample is a prompt with the answers of both models.
type Sample struct {
	Prompt string `json:"prompt"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// SpeedRatio is the tokens a second of After / those of Before, measured in pairs,
// one model right after the other.
type SpeedRatio struct {
	Pairs      int   `json:"pairs"`
	Prompt     Range `json:"prompt"`
	Generation Range `json:"generation"`
}

// A Range is the median of some measurements with the lowest and the highest, or,
// of a sweep's speeds, the quartiles.
type Range struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// What a verdict says to do.
const (
	SayKeep    = "keep"
	SayRepair  = "repair first"
	SayTooMuch = "too much"
)

// A Verdict is one line that a person can act on.
type Verdict struct {
	Say        string     `json:"say"`    // SayKeep, SayRepair or SayTooMuch
	Reason     string     `json:"reason"` // with the numbers it rests on
	Thresholds Thresholds `json:"thresholds"`
}

// An EvaluateRequest asks to judge a served model: held against another one, or
// against itself without some layers, or, with neither, alone.
type EvaluateRequest struct {
	ID       string
	Folder   string // of this job alone; the plugin keeps its work here
	Profiles string // where profiles are kept, as ProfileRequest.Folder
	Model    string // name; Evaluation.Before
	Other    string // name of the model to be Evaluation.After
	Bypass   []int  // layers to leave out of Model to be Evaluation.After, sorted and each once; only where Other is ""
	Evaluate
}

// A SweepRequest asks what removing more and more layers would cost, by several
// criteria, without making a file. The zero values of Rates, Criteria and Seeds
// take the plugin's defaults.
type SweepRequest struct {
	ID        string
	Folder    string // of this job alone; the plugin keeps its work here
	Profile   ProfileRequest
	Rates     []float64 // shares of the layers to remove, as Selection.Rate
	Criteria  []string  // as Selection.Criterion
	Seeds     int       // choose this many times, each on another half of the text; 1: once, on all of it
	Protect   []int     // layers that must stay
	Tolerance float64   // highest rise of perplexity accepted, 0.1 for 10%; 0 to propose no rate
	EachLayer bool      // also leave out each layer alone, and draw the logit lens
	Evaluate            // Level, Corpus and Thresholds; tasks are left to evaluations
}

// A Sweep is what a sweep found. It is kept as report.json.
type Sweep struct {
	Version   int          `json:"version"`
	Job       string       `json:"job"`
	Model     ModelInfo    `json:"model"`
	Before    TextScore    `json:"before"` // of the whole model
	Points    []SweepPoint `json:"points"` // by criterion, seed and number of layers
	Layers    []LayerScore `json:"layers,omitempty"`
	LayersOf  *TextScore   `json:"layers_of,omitempty"` // the whole model, on the text of Layers, which is some of that of Before
	Tolerance float64      `json:"tolerance,omitempty"`
	Best      *SweepPoint  `json:"best,omitempty"` // of those that stay within the tolerance at the upper end of their interval, the one with most layers removed
	Corpora   []CorpusInfo `json:"corpora"`        // what was scored
	Protocol  string       `json:"protocol"`
	Notes     []string     `json:"notes,omitempty"`
}

// A SweepPoint is one cut that was tried.
type SweepPoint struct {
	Criterion  string      `json:"criterion"`
	Seed       int         `json:"seed"` // 0: chosen on all of the text
	Rate       float64     `json:"rate"` // as asked for
	Remove     []int       `json:"remove"`
	Bytes      int64       `json:"bytes"` // of the file after the cut
	Parameters uint64      `json:"parameters"`
	Text       []TextScore `json:"text"`  // by style; the first, "all", over all of them
	Speed      Range       `json:"speed"` // prompt tokens a second without these layers / with them, in pairs on the same chunk
	Verdict    Verdict     `json:"verdict"`
}

// A LayerScore tells what a single layer is for: what it costs to leave it out,
// and how far the model is when it ends before it (the logit lens of
// nostalgebraist, 2020).
type LayerScore struct {
	Layer     int      `json:"layer"`
	Rise      Estimate `json:"rise"`           // nats a token, as TextScore.Rise, bypassing the layer alone
	KL        Estimate `json:"kl"`             // as TextScore.KL, likewise
	Lens      Estimate `json:"lens"`           // mean negative log-probability of a token with this layer and all after it left out, nats
	Agreement Estimate `json:"lens_agreement"` // share of tokens where the lens and the whole model find the same one most likely
}
