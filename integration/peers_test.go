package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"pare/host/client"
	"pare/plugin"
	"pare/repair"
)

// peersPython is a Python that has what the scripts in peers ask for in their first
// lines. Comparisons with torch take more of an hour than of a minute, and torch more
// room than all the rest: only make peers and make bench run them, where it is given.
func peersPython(tb testing.TB) string {
	tb.Helper()
	python := os.Getenv("PEERS_PYTHON")
	if python == "" {
		tb.Skip("PEERS_PYTHON is not set: give a Python that has the dependencies named in integration/peers/repair.py")
	}
	return python
}

// A peerScores is what repair.py --json writes: by held-out text and model.
type peerScores struct {
	Held map[string]map[string]peerScore
}

type peerScore struct {
	Perplexity, KL, Agreement float64
	Sequences                 struct{ Loss, KL, Agreement []float64 } // means of each
}

// TestDistillLikeTorch has Pare and peers/repair.py heal the same cut by distillation, and
// Pare by each of its methods alone. All are scored by the script.
func TestDistillLikeTorch(t *testing.T) {
	c := newComparison(t)
	c.repair("closed", client.Repair{Method: plugin.RepairLinear})
	c.repair("lora", client.Repair{Method: plugin.RepairQLoRA})
	c.repair("distilled", client.Repair{Method: plugin.RepairLinearQLoRA})
	scores := c.compare("distill", "closed", "lora", "distilled")

	for held := range c.held {
		kl := func(name string) []float64 { return scores.Held[held][name].Sequences.KL }
		checkNoWorse(t, "KL, "+held+" style, distilled", kl("distilled"), kl("trained"))
		for _, single := range []string{"closed", "lora"} {
			checkNoWorse(t, "KL, "+held+" style, the chain against "+single+" alone", kl("distilled"), kl(single))
		}
	}
}

// TestNextTokenLikeTorch is TestDistillLikeTorch by the loss of the next token, for the
// style that was learnt from.
func TestNextTokenLikeTorch(t *testing.T) {
	c := newComparison(t)
	c.repair("next", client.Repair{Method: plugin.RepairLinearQLoRA, Loss: plugin.LossNext})
	scores := c.compare("next", "next").Held["same"]
	checkNoWorse(t, "loss by next token", scores["next"].Sequences.Loss, scores["trained"].Sequences.Loss)
}

// checkNoWorse demands that ours is not above theirs by more than two standard errors
// of the difference, sequence by sequence.
func checkNoWorse(t *testing.T, what string, ours, theirs []float64) {
	t.Helper()
	n := float64(len(ours))
	if n < 2 || len(ours) != len(theirs) {
		t.Fatalf("%s: %d sequences against %d", what, len(ours), len(theirs))
	}
	mean, squares := 0.0, 0.0
	for i := range ours {
		mean += (ours[i] - theirs[i]) / n
	}
	for i := range ours {
		squares += math.Pow(ours[i]-theirs[i]-mean, 2)
	}
	deviation := math.Sqrt(squares / (n - 1) / n)
	t.Logf("%s: ours less theirs is %+.4f +- %.4f", what, mean, deviation)
	if !(mean <= 2*deviation) {
		t.Errorf("%s: ours is above theirs", what)
	}
}

// pythonReference is prose about code that every Python brings.
func pythonReference(t *testing.T, python string) string {
	t.Helper()
	out, err := exec.Command(python, "-c", "from pydoc_data.topics import topics; print(*(topics[t] for t in sorted(topics)), sep='\\n\\n')").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// A comparison cuts the same layers from SmolLM2 as peers/repair.py does and has both
// heal it in as many steps, from the very same rows in the same order, each with its own
// rank and rate: the script has those that the figures in the literature are of. What is
// scored, with float32 weights, is of the style that was learnt from (Python's own
// reference) and Newton's Opticks. The files of Pare are those that a user gets,
// rounded to the types of the original.
type comparison struct {
	*server
	python string
	folder string
	steps  int
	text   string            // that is learnt from
	held   map[string]string // what is scored, by name
	cuts   map[string]string // GGUFs of Pare, by name
}

// As in peers/repair.py.
const (
	batch      = 4
	heldTokens = 512
)

func newComparison(t *testing.T) *comparison {
	t.Helper()
	python := peersPython(t)
	s := startServer(t)
	s.createSmol()
	steps := 100
	if n, err := strconv.Atoi(os.Getenv("PEERS_STEPS")); err == nil {
		steps = n
	}
	reference := pythonReference(t, python)
	split := len(reference) - 60_000
	c := &comparison{
		server: s, python: python, folder: t.TempDir(), steps: steps, text: reference[:split],
		held: map[string]string{"same": reference[split:], "other": opticks(t)[200_000:260_000]},
		cuts: map[string]string{},
	}
	c.hold()
	return c
}

// hold writes the tokens of what is scored.
func (c *comparison) hold() {
	c.tb.Helper()
	for name, text := range c.held {
		reply := c.score(client.ScoreRequest{Model: "smollm2", Text: text, Context: heldTokens})
		c.writeTokens(name, reply.Tokens, heldTokens)
	}
}

func (c *comparison) path(name string) string { return filepath.Join(c.folder, name+".json") }

// writeTokens writes tokens as sequences of one length.
func (c *comparison) writeTokens(name string, tokens []int32, length int) {
	c.tb.Helper()
	var sequences [][]int32
	for ; len(tokens) >= length; tokens = tokens[length:] {
		sequences = append(sequences, tokens[:length])
	}
	data, err := json.Marshal(sequences)
	if err != nil {
		c.tb.Fatal(err)
	}
	if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
		c.tb.Fatal(err)
	}
}

// repair has Pare repair the cut model, and keeps the rows that it learns from.
func (c *comparison) repair(name string, r client.Repair) {
	c.tb.Helper()
	r.Data = &client.Corpus{Name: "reference.txt", Text: c.text}
	if r.Method != plugin.RepairLinear {
		r.Steps = &c.steps
	}
	request := client.PruneRequest{
		Model: "smollm2", Name: name, Range: "13-18", Repair: &r, Evaluate: &client.Evaluate{Level: plugin.LevelNone},
	}
	report, err := c.client().Prune(c.tb.Context(), request, func(p client.Progress) {
		if p.Stage == "train" && p.Completed == 1 {
			c.keepRows()
		}
	})
	if err != nil {
		c.tb.Fatalf("%v\n%s", err, c.tail())
	}
	c.cuts[name] = filepath.Join(c.folder, name+".gguf")
	if err := os.Link(c.blob(name), c.cuts[name]); err != nil { // transformers goes by the end of the name
		c.tb.Fatal(err)
	}
	if trained := report.Repair.Training; trained != nil {
		seconds := trained.Seconds / float64(len(trained.Curve)-1)
		c.tb.Logf("%s: %.1f s a step, peak memory %.2f GB, notes %q", name, seconds, float64(trained.PeakMemory)/1e9, report.Repair.Notes)
	}
}

// keepRows writes the tokens of the examples of the job that is training, in the order
// in which it reads them.
func (c *comparison) keepRows() {
	c.tb.Helper()
	found, err := filepath.Glob(filepath.Join(c.models(), "pare", "jobs", "*", "examples.bin"))
	if err != nil || len(found) != 1 {
		c.tb.Fatalf("examples of %d jobs: %v", len(found), err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		c.tb.Fatal(err)
	}
	about, err := os.ReadFile(found[0] + ".json")
	if err != nil {
		c.tb.Fatal(err)
	}
	var form struct {
		Length, Hidden, Top int
		State               bool
	}
	if err := json.Unmarshal(about, &form); err != nil {
		c.tb.Fatal(err)
	}
	// A record has five numbers a token of which the first is the token, what was
	// observed at each, and a checksum.
	size := form.Length*(5*4+8*form.Top) + 4
	if form.State {
		size += form.Length * (4 + 2*form.Hidden)
	}
	if len(data) == 0 || len(data)%size != 0 {
		c.tb.Fatalf("%d bytes of examples are no records of %d", len(data), size)
	}
	var all []int32
	for epoch := 0; len(all) < c.steps*batch*form.Length; epoch++ {
		for _, i := range repair.Order(len(data)/size, 0, epoch) {
			row := make([]int32, form.Length)
			if err := binary.Read(bytes.NewReader(data[i*size:]), binary.LittleEndian, row); err != nil {
				c.tb.Fatal(err)
			}
			all = append(all, row...)
		}
	}
	c.writeTokens("train", all, form.Length)
}

// compare has torch do the default chain by a loss, and scores with it what Pare made.
func (c *comparison) compare(loss string, ours ...string) (scores peerScores) {
	c.tb.Helper()
	out := c.path("scores-" + loss)
	args := []string{
		"peers/repair.py", "--model", fromMake(c.tb, "PARE_MODEL"), "--train", c.path("train"), "--closed-form",
		"--loss", loss, "--steps", strconv.Itoa(c.steps), "--json", out, "--held",
	}
	for name := range c.held {
		args = append(args, c.path(name))
	}
	args = append(args, "--against")
	for _, name := range ours {
		args = append(args, name+"="+c.cuts[name])
	}
	cmd := exec.Command(c.python, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	table, err := cmd.Output()
	if err != nil {
		c.tb.Fatalf("%v: %s", err, stderr.String())
	}
	c.tb.Logf("torch by %s (trained, closed form) and Pare:\n%s", loss, table)
	data, err := os.ReadFile(out)
	if err != nil {
		c.tb.Fatal(err)
	}
	if err := json.Unmarshal(data, &scores); err != nil {
		c.tb.Fatal(fmt.Errorf("read %s: %w", out, err))
	}
	return scores
}
