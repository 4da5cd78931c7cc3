package host

import (
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ollama/ollama/types/model"

	"pare/host/score"
	"pare/plugin"
)

// playAnswers answers with the prompt's number, seed and how many layers are left out, the
// last prompt first. It dies of "[unlucky]", once: behind its answer the first time.
func playAnswers(r *score.Answers, replies *gob.Encoder) {
	mark := os.Getenv("PARE_TEST_DIED")
	for _, p := range slices.Backward(r.Prompts) {
		text := fmt.Sprint(p.Text, " ", r.Sampling.Seed, " ", len(r.Model.Bypass))
		replies.Encode(score.Reply{Answer: &plugin.Answer{Prompt: p.Number, Text: text}})
		if _, err := os.Stat(mark); p.Text == "[unlucky]" && err != nil {
			os.WriteFile(mark, nil, 0o600)
			os.Exit(3)
		}
	}
}

// TestAnswersTogether asks for answers a few rounds at a time, of one variant after
// another. A scoring process that dies costs none, and has none told twice.
func TestAnswersTogether(t *testing.T) {
	t.Setenv("PARE_TEST_DIED", t.TempDir()+"/died")
	l := observer(t, "[{{ .Prompt }}]")
	config := putBlob(t, mediaConfig, []byte("{}")) // which names no renderer in the template's place
	if err := writeManifest(model.ParseName("tiny"), config, mustLookUp(t, "tiny").manifest.Layers); err != nil {
		t.Fatal(err)
	}
	r := plugin.GenerateRequest{Model: "tiny", Variants: []plugin.Variant{{}, {Bypass: []int{2}}}, MaxTokens: 4, Temperature: 1, Seed: 7, Parallel: 2}
	r.Prompts = strings.Fields("a b c d e unlucky g h i j")
	var told, want []string
	each := func(a plugin.Answer) error {
		told = append(told, fmt.Sprint(a.Variant, " ", a.Prompt, " ", a.Text))
		return a.Validate(r)
	}
	if err := l.Generate(t.Context(), r, each); err != nil {
		t.Fatal(err)
	}
	for _, some := range [][]int{{7, 6, 5, 4, 3, 2, 1, 0}, {9, 8}} {
		for v := range r.Variants {
			for _, i := range some {
				want = append(want, fmt.Sprintf("%d %d [%s] 7 %d", v, i, r.Prompts[i], v))
			}
		}
	}
	if !slices.Equal(told, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	if _, err := os.Stat(os.Getenv("PARE_TEST_DIED")); err != nil {
		t.Error("the process did not die")
	}
	if err := l.Generate(t.Context(), plugin.GenerateRequest{Model: "tiny", Variants: r.Variants, Parallel: math.MaxInt}, each); err != nil {
		t.Errorf("error %v where nothing is asked", err)
	}
	// A text to go on with is told as it is.
	told = nil
	r.Raw, r.Variants, r.Prompts = true, r.Variants[:1], r.Prompts[:1]
	if err := l.Generate(t.Context(), r, each); err != nil || !slices.Equal(told, []string{"0 0 a 7 0"}) {
		t.Errorf("raw: told %q, error %v", told, err)
	}
	enough := errors.New("enough")
	if err := l.Generate(t.Context(), r, func(plugin.Answer) error { return enough }); err != enough {
		t.Errorf("error %v, want the caller's as it is", err)
	}
}
