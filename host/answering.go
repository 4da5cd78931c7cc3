package host

import (
	"context"
	"fmt"
	"slices"

	"github.com/ollama/ollama/api"

	"pare/host/score"
	"pare/plugin"
)

// rounds is how often the answers that are under way at a time are asked for before
// another variant has its turn, and who else waits for the scoring process. At the end
// of each there are fewer at a time.
const rounds = 4

// Generate implements plugin.Host. Of the model's own parameters those count that
// choose among likely tokens; none that keep it from repeating itself, as that is
// among what answers are compared for.
func (l *lent) Generate(ctx context.Context, r plugin.GenerateRequest, each func(plugin.Answer) error) error {
	s, err := l.lookUp(r.Model)
	if err != nil {
		return err
	}
	models, err := l.variants(r.Model, r.Variants)
	if err != nil {
		return err
	}
	chat, err := s.chat()
	if err != nil {
		return err
	}
	prompts := slices.Clone(r.Prompts)
	for i, prompt := range prompts {
		if r.Raw {
			break
		}
		prompts[i], err = chat.render([]api.Message{{Role: "user", Content: prompt}}, nil)
		if err != nil {
			return err
		}
	}
	o := chat.options
	sampling := score.Sampling{Temperature: float32(r.Temperature), TopK: o.TopK, TopP: o.TopP, MinP: o.MinP, Seed: r.Seed}
	if r.Parallel > 1 {
		return l.answerTogether(ctx, prompts, models, score.Answers{
			Beside: models, Stop: o.Stop, MaxTokens: r.MaxTokens, Sampling: sampling, Parallel: r.Parallel,
		}, each)
	}
	return l.answerSingly(ctx, prompts, models, score.Generation{
		Beside: models, Stop: o.Stop, MaxTokens: r.MaxTokens, Sampling: sampling,
	}, each)
}

// answerSingly has all models answer a prompt before the next one begins.
func (l *lent) answerSingly(ctx context.Context, prompts []string, models []score.Model, g score.Generation, each func(plugin.Answer) error) error {
	for i, prompt := range prompts {
		g.Prompt = prompt
		for v := range models {
			g.Model = models[v]
			var answer plugin.Answer
			err := again(ctx, func() (err error) {
				answer, err = l.scorer.Generate(ctx, g, func(string) error { return nil })
				return err
			})
			if err != nil {
				return fmt.Errorf("answer prompt %d: %w", i, err)
			}
			answer.Prompt, answer.Variant = i, v
			if err := each(answer); err != nil {
				return err
			}
		}
	}
	return nil
}

// answerTogether has all models answer some prompts before the next ones begin.
func (l *lent) answerTogether(ctx context.Context, prompts []string, models []score.Model, a score.Answers, each func(plugin.Answer) error) error {
	numbered := make([]score.Prompt, len(prompts))
	for i, text := range prompts {
		numbered[i] = score.Prompt{Number: i, Text: text}
	}
	a.Parallel = max(1, min(a.Parallel, len(prompts)))
	for some := range slices.Chunk(numbered, rounds*a.Parallel) {
		for v := range models {
			a.Model, a.Prompts = models[v], some
			err := l.answerSome(ctx, a, func(answer plugin.Answer) error {
				answer.Variant = v
				return each(answer)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// answerSome has one model answer prompts. A scoring process that ends takes with it
// the answers under way alone.
func (l *lent) answerSome(ctx context.Context, a score.Answers, each func(plugin.Answer) error) error {
	told := map[int]bool{}
	return again(ctx, func() error {
		a.Prompts = slices.DeleteFunc(slices.Clone(a.Prompts), func(p score.Prompt) bool { return told[p.Number] })
		if len(a.Prompts) == 0 {
			return nil // it ended behind its last word
		}
		return l.scorer.Answer(ctx, a, func(answer plugin.Answer) error {
			told[answer.Prompt] = true
			return each(answer)
		})
	})
}
