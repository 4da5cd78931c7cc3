package engine

import (
	"context"
	"fmt"
	"math"
	"time"

	"pare/host/score"
	"pare/plugin"
)

// What a context for several sequences takes at most, prompts and answers counted. Where
// one sequence alone takes more, it is given that.
const (
	togetherTokens = 32 << 10
	togetherBytes  = 4 << 30 // of keys and values
)

// answers are given several at a time, each in a sequence of its own in one context. A
// batch has one token of each, so that the weights are read once for all of them.
type answers struct {
	model   *model
	sampler score.Sampling
	stops   []string
	waiting []*sequence
	active  []*sequence // the index is llama.cpp's number of it
	each    func(plugin.Answer) error
}

// A sequence is one of several answers, with its prompt.
type sequence struct {
	answering
	prompt []int32
	at     int       // tokens that the context holds of it
	token  int       // chosen, to be computed next
	over   bool      // there is no such token
	began  time.Time // its first token came
}

// together answers prompts by a model that is loaded, and calls each with the answers in
// the order in which they end. All draw numbers of their own, so that an answer does not
// depend on when others end, save for rounding.
func (e *engine) together(ctx context.Context, r *score.Answers, each func(plugin.Answer) error) error {
	a := &answers{model: e.models[r.Model.Path], sampler: r.Sampling, stops: r.Stop, each: each}
	longest := 0
	for _, p := range r.Prompts {
		if err := a.wait(p, r.MaxTokens); err != nil {
			return fmt.Errorf("answer prompt %d: %w", p.Number, err)
		}
		last := a.waiting[len(a.waiting)-1]
		longest = max(longest, len(last.prompt)+last.most)
	}
	n := a.model.abreast(min(r.Parallel, len(r.Prompts)), longest)
	var err error
	if a.model, err = e.hold(r.Model, longest, n); err != nil { // it may be loaded anew
		return err
	}
	if err := e.use(a.model, r.Model.Bypass); err != nil {
		return err
	}
	a.model.forget(r.Model.Bypass)
	return a.run(ctx, n)
}

// abreast is how many sequences, of those that are asked for, a context has room for.
func (m *model) abreast(asked, length int) int {
	length = max(1, (length+contextStep-1)/contextStep) * contextStep
	n := min(asked, m.batchSize(), togetherTokens/length)
	if m.kvPerToken > 0 {
		n = min(n, int(togetherBytes/(m.kvPerToken*int64(length))))
	}
	return max(1, n)
}

// wait has a prompt wait for a sequence.
func (a *answers) wait(p score.Prompt, most int) error {
	prompt, err := tokensOf(a.model.handle, p.Text, true)
	if err != nil {
		return err
	}
	if len(prompt) == 0 {
		return plugin.Errorf(plugin.Invalid, "it is empty; give it some text")
	}
	if err := a.model.takes(len(prompt) + 1); err != nil {
		return err
	}
	if a.model.trained > 0 {
		most = min(most, a.model.trained-len(prompt))
	}
	s := &sequence{prompt: prompt}
	s.Prompt, s.most = p.Number, most
	s.voice = voice{stops: a.stops, say: func(string) error { return nil }}
	a.waiting = append(a.waiting, s)
	return nil
}

// run answers all that wait, n at a time.
func (a *answers) run(ctx context.Context, n int) error {
	for len(a.active) < n && len(a.waiting) > 0 {
		a.active = append(a.active, nil)
		if err := a.start(ctx, len(a.active)-1); err != nil {
			return err
		}
	}
	for {
		if err := a.refill(ctx); err != nil || len(a.active) == 0 {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.step(); err != nil {
			return err
		}
	}
}

// start computes the first prompt that waits in an empty sequence, and chooses the
// first token of its answer.
func (a *answers) start(ctx context.Context, number int) (err error) {
	s, m, began := a.waiting[0], a.model, time.Now()
	a.active[number], a.waiting = s, a.waiting[1:]
	s.model = m
	if s.sampler, err = newSampler(m.handle, drawing(a.sampler, s.Prompt), s.prompt); err != nil {
		return err
	}
	for s.at < len(s.prompt) {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.batch.Clear()
		for range min(m.batch.Size(), len(s.prompt)-s.at) {
			m.batch.Add(int(s.prompt[s.at]), nil, s.at, s.at == len(s.prompt)-1, number)
			s.at++
		}
		if _, err := m.compute(); err != nil {
			return err
		}
	}
	err = s.follow(-1)
	s.PromptTokens, s.PromptSeconds, s.began = len(s.prompt), time.Since(began).Seconds(), time.Now()
	return err
}

// drawing is how a prompt's tokens are drawn: with the same numbers, answers would all
// begin alike, with a likely word or with an unlikely one.
func drawing(s score.Sampling, number int) score.Sampling {
	s.Seed += uint32(number)
	if s.Seed == math.MaxUint32 { // which llama.cpp takes for a seed that is not the same twice
		s.Seed = math.MaxUint32 / 2
	}
	return s
}

// step computes the tokens that were chosen, and chooses the next ones.
func (a *answers) step() error {
	a.model.batch.Clear()
	for i, s := range a.active {
		a.model.batch.Add(s.token, nil, s.at, true, i)
		s.at++
	}
	if _, err := a.model.compute(); err != nil {
		return err
	}
	for i, s := range a.active {
		if err := s.follow(i); err != nil {
			return err
		}
	}
	return nil
}

// follow chooses the token that follows the i-th one of the batch.
func (s *sequence) follow(i int) (err error) {
	token, ok := s.choose(i)
	if !ok {
		s.over = true
		return s.voice.end()
	}
	s.token = token
	s.over, err = s.take(token)
	return err
}

// refill tells the answers that are over and gives their sequences to prompts that
// wait. Where none does the last sequence moves into the gap: llama.cpp computes
// sequences together only if their numbers follow one another.
func (a *answers) refill(ctx context.Context) error {
	for i := 0; i < len(a.active); {
		s, cache := a.active[i], a.model.context
		if !s.over {
			i++
			continue
		}
		s.Text, s.Seconds = s.voice.said.String(), time.Since(s.began).Seconds()
		if err := a.each(s.Answer); err != nil {
			return err
		}
		cache.KvCacheSeqRm(i, 0, -1)
		if len(a.waiting) > 0 {
			if err := a.start(ctx, i); err != nil {
				return err
			}
			continue
		}
		last := len(a.active) - 1
		if i < last {
			cache.KvCacheSeqCp(last, i, 0, -1)
			cache.KvCacheSeqRm(last, 0, -1)
			a.active[i] = a.active[last]
		}
		a.active = a.active[:last]
	}
	return nil
}
