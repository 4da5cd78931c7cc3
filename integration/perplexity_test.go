package integration

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"pare/host/client"
)

// These bound how far scores may be from the reference, which has float32
// throughout: the scoring process multiplies with activations in 8 bits.
const (
	perplexityOff = 0.02 // share of the perplexity, over all chunks
	chunkOff      = 0.05 // share of the perplexity, of one chunk
	logProbOff    = 0.10 // nats, mean over the tokens
	klOff         = 0.05 // share of the divergence
	agreementOff  = 0.02 // share of the tokens
)

// A perplexityReference holds what transformers made of some prose with the same
// GGUF's weights, written by testdata/perplexity.py. The protocol is that of
// llama.cpp's perplexity tool: chunks of Context tokens, each run from an empty
// context, and of each the tokens from Context/2+1 on are scored.
type perplexityReference struct {
	Start   int       `json:"start"` // of the prose in its file, in bytes
	Bytes   int       `json:"bytes"`
	Context int       `json:"context"`
	Tokens  int       `json:"tokens"` // in whole chunks
	Digest  string    `json:"tokens_sha256"`
	Bypass  string    `json:"bypass"`
	Whole   reckoning `json:"whole"`
	Cut     reckoning `json:"cut"` // with the layers of Bypass deleted
}

// A reckoning is what one model made of the prose.
type reckoning struct {
	Perplexity float64   `json:"perplexity"`
	KL         float64   `json:"kl"`        // from the whole model, nats a token
	Agreement  float64   `json:"agreement"` // with the whole model on the most likely token
	Chunks     []float64 `json:"chunks"`    // perplexity of each
	LogProbs   []float64 `json:"log_probs"`
}

func loadPerplexities(t *testing.T) (r perplexityReference) {
	t.Helper()
	b, err := os.ReadFile("testdata/perplexity.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// Scores of SmolLM2, whole and with layers bypassed, are those that an independent
// implementation computes, which deletes the layers.
func TestPerplexityEqualsTransformers(t *testing.T) {
	ref := loadPerplexities(t)
	s := startServer(t)
	// One thread: two that wait for each other are slow on a busy machine.
	s.create("smollm2", fromMake(t, "PARE_MODEL"), "PARAMETER num_thread 1")
	got := s.score(client.ScoreRequest{
		Model: "smollm2", Text: opticks(t)[ref.Start : ref.Start+ref.Bytes],
		Context: ref.Context, Bypass: []string{ref.Bypass},
	})
	if len(got.Tokens) < ref.Tokens || digestOf(got.Tokens[:ref.Tokens]) != ref.Digest {
		t.Fatalf("the %d tokens that were scored are not those of the reference", len(got.Tokens))
	}
	if len(got.Variants) != 2 || got.Variants[1].Bypass != ref.Bypass {
		t.Fatalf("%d variants were scored, not the whole model and the one without layers %s", len(got.Variants), ref.Bypass)
	}
	t.Run("whole", func(t *testing.T) { compareScores(t, got.Variants[0], ref.Whole) })
	t.Run("without "+ref.Bypass, func(t *testing.T) { compareScores(t, got.Variants[1], ref.Cut) })
}

// digestOf is the SHA-256 of the ids in decimal with a space between them.
func digestOf(tokens []int32) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Trim(fmt.Sprint(tokens), "[]"))))
}

func compareScores(t *testing.T, got client.ScoreSeries, want reckoning) {
	t.Helper()
	if got.Scored != len(want.LogProbs) || len(got.LogProbs) != got.Scored {
		t.Fatalf("%d tokens were scored, want %d", got.Scored, len(want.LogProbs))
	}
	worst, sum := 0.0, 0.0
	each := len(got.LogProbs) / len(want.Chunks)
	for i, p := range want.Chunks {
		worst = max(worst, math.Abs(perplexityOf(got.LogProbs[i*each:(i+1)*each])/p-1))
	}
	for i, p := range want.LogProbs {
		sum += math.Abs(float64(got.LogProbs[i]) - p)
	}
	off, mean := math.Abs(got.Perplexity/want.Perplexity-1), sum/float64(len(want.LogProbs))
	t.Logf("perplexity %.3f, %.2f%% off %.3f; worst chunk %.2f%%; log-probabilities %.4f on average; divergence %.4f, want %.4f; agreement %.4f, want %.4f",
		got.Perplexity, 100*off, want.Perplexity, 100*worst, mean, got.KL, want.KL, got.Agreement, want.Agreement)
	for _, c := range []struct {
		what       string
		off, bound float64
	}{
		{"the perplexity", off, perplexityOff},
		{"the perplexity of a chunk", worst, chunkOff},
		{"the mean log-probability", mean, logProbOff},
		{"the divergence", math.Abs(got.KL - want.KL), klOff * want.KL},
		{"the agreement", math.Abs(got.Agreement - want.Agreement), agreementOff},
	} {
		if !(c.off <= c.bound) { // so that a NaN fails
			t.Errorf("%s is %.4f off; it may be %.4f", c.what, c.off, c.bound)
		}
	}
}

// perplexityOf is exp(-Σ ln p / n).
func perplexityOf(logProbs []float32) float64 {
	sum := 0.0
	for _, p := range logProbs {
		sum += float64(p)
	}
	return math.Exp(-sum / float64(len(logProbs)))
}
