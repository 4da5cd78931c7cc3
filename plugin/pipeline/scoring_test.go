package pipeline

import (
	"context"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pare/plugin"
	"pare/plugin/layers"
)

// rise is what the model loses without each layer, nats a token. What it loses
// without several is the sum: of the blocks of two, 4-5 costs least.
var rise = [modelLayers]float64{0.9, 0.8, 0.5, 0.4, 0.01, 0.02, 0.3, 0.6}

// otherRise is what another file loses.
const otherRise = 0.2

// A fakeScorer makes scores and answers as a host would. They depend on the text and
// the variant alone.
type fakeScorer struct {
	split    func(string) []string // into tokens; nil for words
	bare     bool                  // no token begins a prompt
	words    map[int32]string      // by token
	calls    int                   // of Tokenize, Score, Generate and Footprint
	runs     map[run]int           // made in full
	answers  int
	dies     int               // number of the score that is the last before it dies; 0 never to
	scores   int               // made so far
	unscored error             // of Score, if not nil
	digests  map[string]string // of the other models that were scored, as demanded
}

// A run is what was scored: text, beginning token included, from a token on.
type run struct {
	text    string
	from    int
	variant string
}

const begin = "<s>"

func newFakeScorer() fakeScorer {
	return fakeScorer{words: map[int32]string{}, runs: map[run]int{}, digests: map[string]string{}}
}

// Tokenize implements plugin.Host: a token a word.
func (s *fakeScorer) Tokenize(_ context.Context, _ string, texts []string) ([][]int32, error) {
	s.calls++
	out := make([][]int32, len(texts))
	for i, text := range texts {
		var words []string
		if !s.bare {
			words = []string{begin}
		}
		split := s.split
		if split == nil {
			split = strings.Fields
		}
		for _, w := range append(words, split(text)...) {
			id := int32(hashOf(w) & 0x7fffffff)
			s.words[id] = w
			out[i] = append(out[i], id)
		}
	}
	return out, nil
}

// text is what tokens stand for.
func (s *fakeScorer) text(tokens []int32) string {
	words := make([]string, len(tokens))
	for i, id := range tokens {
		words[i] = s.words[id]
	}
	return strings.Join(words, " ")
}

var errDied = plugin.Errorf(plugin.Unavailable, "the scorer died")

// Score implements plugin.Host.
func (s *fakeScorer) Score(ctx context.Context, r plugin.ScoreRequest, each func(plugin.Score) error) error {
	s.calls++
	if s.unscored != nil {
		return s.unscored
	}
	for i, q := range r.Sequences {
		if q.From < 1 || q.From >= len(q.Tokens) {
			return plugin.Errorf(plugin.Invalid, "sequence %d of %d tokens from %d", i, len(q.Tokens), q.From)
		}
		for k, v := range r.Variants {
			if err := ctx.Err(); err != nil {
				return err
			}
			if v.Model != "" {
				s.digests[v.Model] = v.Digest
			}
			if s.scores++; s.dies > 0 && s.scores > s.dies {
				return errDied
			}
			score := s.made(q, v)
			score.Sequence, score.Variant = i, k
			if err := each(score); err != nil {
				return err
			}
		}
		for k, v := range r.Variants {
			if k > 0 || len(r.Variants) == 1 { // else it is what the others are held against
				s.runs[run{s.text(q.Tokens), q.From, nameOf(v)}]++
			}
		}
	}
	return nil
}

// made is a score. Texts differ in how hard they are, and a little in what a layer
// does for them.
func (s *fakeScorer) made(q plugin.Sequence, v plugin.Variant) plugin.Score {
	hard := float64(hashOf(s.text(q.Tokens))%1000) / 1000
	lost := costOf(v) * (0.95 + 0.1*hard)
	n := len(q.Tokens) - q.From
	out := plugin.Score{Computed: len(q.Tokens), Seconds: float64(len(q.Tokens)*(modelLayers-len(v.Bypass))) / 1000}
	for i := range n {
		out.LogProb = append(out.LogProb, float32(-2-hard-lost))
		out.KL = append(out.KL, float32(lost))
		out.Agree = append(out.Agree, float64(i) >= lost*float64(n))
	}
	return out
}

// costOf is what a variant loses on the average text, nats a token.
func costOf(v plugin.Variant) float64 {
	lost := 0.0
	if v.Path != "" || v.Model != "" {
		lost = otherRise
	}
	for _, l := range v.Bypass {
		lost += rise[l]
	}
	return lost
}

func nameOf(v plugin.Variant) string {
	if v.Path != "" {
		return filepath.Base(v.Path)
	}
	return v.Model + layers.Format(v.Bypass)
}

func hashOf(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

// Generate implements plugin.Host.
func (s *fakeScorer) Generate(ctx context.Context, r plugin.GenerateRequest, each func(plugin.Answer) error) error {
	s.calls++
	for i, prompt := range r.Prompts {
		for k, v := range r.Variants {
			if err := ctx.Err(); err != nil {
				return err
			}
			s.answers++
			words := strings.Fields(prompt)
			words = words[:max(1, len(words)-k)]
			if err := each(plugin.Answer{
				Prompt: i, Variant: k, Text: strings.Join(words, " "), Tokens: 11, Ended: true,
				PromptTokens: 20, PromptSeconds: 0.1 / (1 + costOf(v)), Seconds: 1 / (1 + costOf(v)),
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Observe implements plugin.Host.
func (s *fakeScorer) Observe(context.Context, plugin.ObserveRequest, func(plugin.Observation) error) error {
	return plugin.Errorf(plugin.Unsupported, "this host observes nothing")
}

// Transcribe implements plugin.Host.
func (s *fakeScorer) Transcribe(context.Context, string, [][]plugin.Message) ([]plugin.Transcript, error) {
	return nil, plugin.Errorf(plugin.Refused, "this host's model has no template")
}

// Floats implements plugin.Host.
func (s *fakeScorer) Floats(context.Context, uint32, []byte) ([]float32, error) {
	return nil, plugin.Errorf(plugin.Unsupported, "this host has no code books")
}

// Footprint implements plugin.Host.
func (s *fakeScorer) Footprint(_ context.Context, _ string, v plugin.Variant) (plugin.Footprint, error) {
	s.calls++
	if len(v.Bypass) > 0 {
		return plugin.Footprint{}, plugin.Errorf(plugin.Invalid, "layers left out are in memory all the same")
	}
	f := plugin.Footprint{Resident: 1000, KVPerToken: 80, ContextTokens: 512}
	if nameOf(v) != "" {
		f.Resident, f.KVPerToken = 800, 60
	}
	return f, nil
}

// onlyOnce demands that nothing was scored twice, and returns how much was.
func (s *fakeScorer) onlyOnce(t *testing.T) int {
	t.Helper()
	for r, n := range s.runs {
		if n > 1 {
			t.Errorf("%q from %d was run by %q %d times", r.text, r.from, r.variant, n)
		}
	}
	return len(s.runs)
}

// scored lists the texts that a variant was run on, sorted, without the token that
// begins them.
func (s *fakeScorer) scored(variant string) []string {
	var texts []string
	for r := range s.runs {
		if r.variant == variant {
			texts = append(texts, strings.TrimPrefix(r.text, begin+" "))
		}
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// some are passages of 3 to n+2 tokens.
func (s *fakeScorer) some(t *testing.T, n int) []passage {
	t.Helper()
	var out []passage
	for i := range n {
		words := []string{fmt.Sprintf("number%d", i)}
		for k := range i + 1 {
			words = append(words, fmt.Sprintf("word%d", k))
		}
		tokens, err := s.Tokenize(t.Context(), "", []string{strings.Join(words, " ")})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, newPassage("prose", tokens[0], 1))
	}
	return out
}
