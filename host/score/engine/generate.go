package engine

import (
	"cmp"
	"context"
	"math"
	"time"

	"github.com/ollama/ollama/llama"

	"pare/host/score"
	"pare/plugin"
)

// generate answers a prompt by a model that is loaded.
func (e *engine) generate(ctx context.Context, g *score.Generation, say func(text string) error) (plugin.Answer, error) {
	m := e.models[g.Model.Path]
	prompt, err := tokensOf(m.handle, g.Prompt, true)
	if err != nil {
		return plugin.Answer{}, err
	}
	if len(prompt) == 0 {
		return plugin.Answer{}, plugin.Errorf(plugin.Invalid, "answer a prompt: it is empty; give it some text")
	}
	most, err := e.room(g, len(prompt))
	if err != nil {
		return plugin.Answer{}, err
	}
	m = e.models[g.Model.Path] // it may have been loaded anew
	if err := e.use(m, g.Model.Bypass); err != nil {
		return plugin.Answer{}, err
	}
	if !g.Continue {
		m.forget(g.Model.Bypass)
	}
	sampler, err := newSampler(m.handle, g.Sampling, prompt)
	if err != nil {
		return plugin.Answer{}, err
	}
	a := &answering{model: m, sampler: sampler, most: most, voice: voice{stops: g.Stop, say: say}}
	err = a.run(ctx, prompt)
	a.Text = a.voice.said.String()
	return a.Answer, err
}

// room sees to a context for the prompt and its answer, and returns how many
// tokens that may have.
func (e *engine) room(g *score.Generation, prompt int) (int, error) {
	m := e.models[g.Model.Path]
	if err := m.takes(prompt + 1); err != nil {
		return 0, err
	}
	limit := cmp.Or(m.trained, math.MaxInt32)
	most := limit - prompt
	if m.trained == 0 {
		most = usualContext
	}
	if g.MaxTokens > 0 {
		most = min(most, g.MaxTokens)
	}
	size := prompt + most
	if g.MaxTokens <= 0 {
		// An answer without end is rare: it is not worth the memory of the largest context.
		size = min(size, max(2*prompt, 2*usualContext))
		most = size - prompt
	}
	_, err := e.hold(g.Model, size, 1)
	return most, err
}

// newSampler chooses tokens as Ollama's runner does, after having seen the prompt.
func newSampler(handle *llama.Model, s score.Sampling, prompt []int32) (*llama.SamplingContext, error) {
	sampler, err := llama.NewSamplingContext(handle, llama.SamplingParams{
		TopK: s.TopK, TopP: cmp.Or(s.TopP, 1), MinP: s.MinP, TypicalP: cmp.Or(s.TypicalP, 1),
		Temp: s.Temperature, RepeatLastN: s.RepeatLastN, PenaltyRepeat: cmp.Or(s.RepeatPenalty, 1),
		PenaltyFreq: s.FrequencyPenalty, PenaltyPresent: s.PresencePenalty, Seed: s.Seed,
	})
	if err != nil {
		return nil, err
	}
	for _, t := range prompt {
		sampler.Accept(int(t), false)
	}
	return sampler, nil
}

// An answering is one answer under way.
type answering struct {
	plugin.Answer
	model   *model
	sampler *llama.SamplingContext
	most    int // tokens
	voice   voice
}

func (a *answering) run(ctx context.Context, prompt []int32) error {
	began := time.Now()
	took, err := a.model.forward(ctx, prompt, len(prompt)-1, func(int, [][]float32) error { return nil })
	if err != nil {
		return err
	}
	a.PromptTokens = took.tokens
	token, ok := a.choose(-1)
	a.PromptSeconds = time.Since(began).Seconds()
	began = time.Now()
	defer func() { a.Seconds = time.Since(began).Seconds() }()
	for ok {
		if over, err := a.take(token); err != nil || over {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		at := len(a.model.held)
		if _, err := a.model.decode([]int32{int32(token)}, at, at); err != nil {
			return err
		}
		token, ok = a.choose(-1)
	}
	return a.voice.end()
}

// take adds a token to the answer, and reports whether that is over.
func (a *answering) take(token int) (over bool, err error) {
	a.Tokens++
	if a.model.handle.TokenIsEog(token) {
		a.Ended = true
		return true, a.voice.end()
	}
	if a.Ended, err = a.voice.add(a.model.handle.TokenToPiece(token)); err != nil || a.Ended {
		return true, err
	}
	if a.Tokens == a.most {
		return true, a.voice.end()
	}
	return false, nil
}

// choose takes a token by the logits of the i-th one of the batch, of the last one if i
// is -1. It reports false where they are not all finite: without some layers a model may
// come to that, and no token follows.
func (a *answering) choose(i int) (token int, ok bool) {
	logits := logitsAt(a.model.context, i, a.model.handle.NumVocab())
	if logits == nil || !sound(readRow(logits)) {
		return 0, false
	}
	token = a.sampler.Sample(a.model.context, i)
	a.sampler.Accept(token, true)
	return token, true
}
