package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"pare/host/client"
	"pare/plugin"
)

// outcome is what a command that asks no server prints and ends with.
func outcome(c *cobra.Command, args ...string) (string, error) {
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	c.SilenceUsage = true
	err := c.Execute()
	return out.String(), err
}

func TestFlagsAreRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Setenv("OLLAMA_HOST", "127.0.0.1:1") // nobody there
	for args, says := range map[string]string{
		"prune a b --drop 2 --repair lora":                    "repair: method is \"lora\"; give none, linear,",
		"prune a b --drop 2 --repair-rank 0":                  "rank is 0; give 1 or more",
		"prune a b --drop 2 --repair-rate 2":                  "learning_rate is 2; give a number above 0",
		"prune a b --drop 2 --repair-rate NaN":                "learning_rate is NaN",
		"prune a b --drop 2 --repair-layers window:x":         "give a number of layers behind window:",
		"prune a b --drop 2 --repair linear --repair-steps 9": "steps is for training",
		"prune a b --drop 2 --repair-data nowhere.txt":        "read the corpus",
		"prune a b --drop 2 --repair-batch 4 --quantize q1":   "quantize is \"q1\"; give f16,",
		"repair a":                           "give a NAME for the repaired model, or --compare",
		"repair a b --drop 20%":              "--drop goes with --compare",
		"repair a --compare --method linear": "leave --method out",
		"repair a --compare --evaluate none": "give --evaluate quick or full",
		"repair a --compare -o table.png":    "must end in .html, .md, .json or .txt",
		"repair a --compare -o no/such.md":   "there is no folder no; make it first",
		"prune a b --drop 2 -o no/such.html": "there is no folder no; make it first",
		"repair a --compare --drop 120%":     "drop is 1.2; give a share",
		"repair a b --seed 9":                "is `pare serve` running?",
		"trace a --sample 5":                 "give a share of the forward passes, such as 10% or 0.1",
		"trace a --sample 5% --off":          "give --sample or --off, not both",
		"trace a --sample 5%":                "is `pare serve` running?",
	} {
		words := strings.Fields(args)
		c := map[string]func() *cobra.Command{"prune": newPrune, "repair": newRepair, "trace": newTrace}[words[0]]()
		if _, err := outcome(c, words[1:]...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", args, err, says)
		}
	}
}

// serve says how its share is written before it starts anything.
func TestShareOfServe(t *testing.T) {
	for args, says := range map[string]string{
		"serve --trace 5%":   "write --trace=5%",
		"serve --trace=7":    "give a share of the forward passes",
		"serve --trace=5% x": "accepts 0 arg(s)",
	} {
		root := newRoot()
		if _, err := outcome(root, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", args, err, says)
		}
	}
}

func TestRepairFlagsBecomeARequest(t *testing.T) {
	lessons := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(lessons, []byte("to learn from"), 0o600); err != nil {
		t.Fatal(err)
	}
	var f repairFlags
	c := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return nil }}
	f.register(c, "repair", "repair-")
	if r, err := f.request(); r != nil || err != nil {
		t.Errorf("no flag was given: %+v, %v", r, err)
	}
	if _, err := outcome(c, "--repair", "qlora", "--repair-rank", "4", "--repair-rate", "1e-4", "--repair-data", lessons, "--adapter"); err != nil {
		t.Fatal(err)
	}
	r, err := f.request()
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Settings()
	if want := (plugin.Repair{Method: plugin.RepairQLoRA, Rank: 4, LearningRate: 1e-4, Adapter: true}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if r.Steps != nil || *r.Data != (client.Corpus{Name: "notes.txt", Text: "to learn from"}) {
		t.Errorf("%+v", r)
	}
}

// The flags of repair stand behind the others, under a title of their own.
func TestHelpGroupsTheRepair(t *testing.T) {
	help, err := outcome(newPrune(), "--help")
	before, after, found := strings.Cut(help, "\nRepair:\n")
	if err != nil || !found || strings.Contains(before, "--repair-") || !strings.Contains(before, "--drop") || !strings.Contains(after, "--repair-steps") || !strings.Contains(after, "--quantize") {
		t.Errorf("%v:\n%s", err, help)
	}
}

// Settings that mean nothing to a strategy are left out of it, so that the server
// refuses none of them.
func TestStrategiesTakeWhatTheyCanUse(t *testing.T) {
	rank, steps := 4, 50
	all := client.Repair{Rank: &rank, Steps: &steps, Targets: "ffn", Layers: "all", Seed: 3, Quantize: "q8_0", Data: &client.Corpus{Text: "text"}}
	names := map[string]bool{}
	for _, s := range strategies {
		r := s.repair(all)
		got, err := r.Settings()
		if err != nil || got.Method != s.method || got.Quantize != "q8_0" {
			t.Errorf("%s: %+v, %v", s.name, got, err)
		}
		if trains := client.Trains(s.method); trains != (got.Steps == 50 && got.Seed == 3) {
			t.Errorf("%s: %+v", s.name, got)
		}
		if s.rank > 0 && (got.Rank != s.rank || got.Bits != s.bits) || s.method == plugin.RepairLinearQLoRA && got.Rank != rank {
			t.Errorf("%s: rank %d, %d bits", s.name, got.Rank, got.Bits)
		}
		if (r.Data == nil) != (s.method == plugin.RepairNone) {
			t.Errorf("%s learns from %+v", s.name, r.Data)
		}
		names[s.named("small:v1")] = true
	}
	if *all.Rank != 4 || len(names) != len(strategies) || !names["small-linear-qlora:v1"] {
		t.Errorf("%v", names)
	}
	if got := strategies[1].named("host:80/me/small"); got != "host:80/me/small-linear" {
		t.Error(got)
	}
	if got := strategies[1].named(""); got != "" {
		t.Error(got)
	}
}

func TestTheStopwatchTimesTheRepairAlone(t *testing.T) {
	at := time.Unix(0, 0)
	var w stopwatch
	for _, s := range []struct {
		stage string
		after time.Duration
	}{{"cut", 0}, {"answer", 5}, {"observe", 7}, {"observe", 11}, {"fit", 2}, {"train", 3}, {"merge", 60}, {"tune", 40}, {"evaluate", 4}, {"register", 50}, {"", 9}} {
		at = at.Add(s.after * time.Second)
		w.see(s.stage, at)
	}
	if w.spent != (11+2+3+100+4)*time.Second {
		t.Error(w.spent)
	}
}

func TestTrainingIsOneLineAQuarter(t *testing.T) {
	var out bytes.Buffer
	f := &lineFollower{w: &out, told: map[string]bool{}}
	for i, loss := range []string{"2.0", "1.9", "1.5", "1.2", "1.1"} {
		f.show(client.Progress{Stage: "train", Status: "training: loss " + loss, Completed: int64(i), Total: 4, Left: float64(60 - 15*i)})
		f.show(client.Progress{Stage: "train", Status: "training: loss " + loss + "1", Completed: int64(i), Total: 4, Left: float64(60 - 15*i)})
	}
	want := []string{"training: loss 2.0", "training: loss 1.9: 25%, 45s left", "training: loss 1.5: 50%, 30s left", "training: loss 1.2: 75%, 15s left", "training: loss 1.1: done"}
	if got := strings.Split(strings.TrimSpace(out.String()), "\n"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A line wider than the terminal would wrap and be drawn again and again.
func TestBarsFitTheTerminal(t *testing.T) {
	long := client.Progress{Stage: "train", Status: strings.Repeat("loss 1.234, ", 12), Completed: 30, Total: 100, Rate: .2, Left: 350}
	short := client.Progress{Stage: "observe", Status: "observing", Completed: 300, Total: 1000, Rate: 250, Left: 3}
	for _, width := range []int{20, 80, 200} {
		for _, p := range []client.Progress{long, short} {
			if n := len([]rune(drawText(p, width))); n >= max(width, 40) {
				t.Errorf("%d columns in %d: %s", n, width, drawText(p, width))
			}
		}
	}
	if got := drawText(long, 80); !strings.Contains(got, "█") || strings.Contains(got, "tokens/s") || !strings.Contains(got, "5m50s") {
		t.Error(got)
	}
	if got := drawText(short, 80); !strings.Contains(got, "250 tokens/s") {
		t.Error(got)
	}
}
