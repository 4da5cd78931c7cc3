package host

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"

	"github.com/gin-gonic/gin"

	"pare/host/client"
	"pare/host/score"
	"pare/plugin"
	"pare/plugin/layers"
)

// Bounds of a request that is answered at once. More is for an evaluation.
const (
	maxScored     = 20_000  // tokens
	maxScoredText = 1 << 20 // bytes, far more than so many tokens have
	maxBypasses   = 64
	maxWork       = 200_000 // tokens, over all variants
)

// postScore tells how probable a model finds a text, whole and without some of
// its layers.
func (s *Server) postScore(c *gin.Context) {
	var r client.ScoreRequest
	if !body(c, &r) {
		return
	}
	reply, err := s.scores(c.Request.Context(), r)
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(http.StatusOK, reply)
}

func (s *Server) scores(ctx context.Context, r client.ScoreRequest) (reply client.ScoreReply, err error) {
	if err := checkScore(r); err != nil {
		return reply, err
	}
	m, err := lookUp("model", r.Model)
	if err != nil {
		return reply, err
	}
	variants, err := s.scoreVariants(ctx, m, r.Bypass)
	if err != nil {
		return reply, err
	}
	tokens, begin, err := s.scoreTokens(ctx, m, r)
	if err != nil {
		return reply, err
	}
	if err := m.takes(cmp.Or(r.Context, len(tokens))); err != nil {
		return reply, err
	}
	sequences, err := chunks(tokens, begin, r.Context)
	if err != nil {
		return reply, err
	}
	if work := len(tokens) * len(variants); work > maxWork {
		return reply, plugin.Errorf(plugin.Invalid, "%d tokens with %d sets of layers are %d to compute, and at most %d are allowed; give fewer sets or less text, or use /api/prune/sweep",
			len(tokens), len(variants)-1, work, maxWork)
	}
	found := make([][]plugin.Score, len(variants))
	for v := range found {
		found[v] = make([]plugin.Score, len(sequences))
	}
	err = s.scorer.Score(ctx, variants, sequences, true, func(s plugin.Score) error {
		found[s.Variant][s.Sequence] = s
		return nil
	})
	if err != nil {
		return reply, err
	}
	reply.Tokens = tokens
	for v, scores := range found {
		reply.Variants = append(reply.Variants, series(layers.Format(variants[v].Bypass), scores))
	}
	return reply, nil
}

// checkScore refuses what can be told from the request alone.
func checkScore(r client.ScoreRequest) error {
	switch {
	case r.Text == "" && r.Tokens == nil:
		return plugin.Errorf(plugin.Invalid, "there is nothing to score; give a text or tokens")
	case r.Text != "" && r.Tokens != nil:
		return plugin.Errorf(plugin.Invalid, "give a text or tokens, not both")
	case len(r.Text) > maxScoredText:
		return plugin.Errorf(plugin.Invalid, "the text has %d bytes; give at most %d, or use /api/prune/evaluate", len(r.Text), maxScoredText)
	case len(r.Bypass) > maxBypasses:
		return plugin.Errorf(plugin.Invalid, "bypass: %d sets of layers; give at most %d", len(r.Bypass), maxBypasses)
	case r.Context != 0 && r.Context < 3:
		return plugin.Errorf(plugin.Invalid, "context is %d; a chunk needs three tokens or more for its second half to be scored", r.Context)
	}
	return nil
}

// scoreVariants are the model as it is and one variant for each set of layers.
func (s *Server) scoreVariants(ctx context.Context, m stored, sets []string) ([]score.Model, error) {
	o, err := m.options()
	if err != nil {
		return nil, err
	}
	variants := []score.Model{{Path: m.path, Threads: o.NumThread}}
	for i, set := range sets {
		field := fmt.Sprintf("bypass %d", i+1)
		if set == "" {
			return nil, plugin.Errorf(plugin.Invalid, "%s: it is empty; the model as it is always comes first", field)
		}
		bypass, err := s.bypass(ctx, m, field, set)
		if err != nil {
			return nil, err
		}
		variants = append(variants, score.Model{Path: m.path, Bypass: bypass, Threads: o.NumThread})
	}
	return variants, nil
}

// scoreTokens are the tokens of a request, and what begins every prompt: one
// token, or none.
func (s *Server) scoreTokens(ctx context.Context, m stored, r client.ScoreRequest) (tokens, begin []int32, err error) {
	texts := []string{""}
	if r.Text != "" {
		texts = append(texts, r.Text)
	}
	found, err := s.scorer.Tokenize(ctx, m.path, texts, false)
	if err != nil {
		return nil, nil, err
	}
	tokens, begin = r.Tokens, found[0]
	if r.Text != "" {
		tokens = found[1]
	}
	if n := len(tokens); n < 2 || n > maxScored {
		return nil, nil, plugin.Errorf(plugin.Invalid, "%d tokens to score; give 2 to %d, as the first is never scored", n, maxScored)
	}
	return tokens, begin, nil
}

// chunks cuts tokens up by the protocol of llama.cpp's perplexity tool: into
// chunks of size tokens of which the second half is scored, given what comes
// before it, with the token that begins a prompt in the place of the first of
// each. What is left behind the last whole chunk is dropped. Size 0 takes them as
// they are, and scores all but the first.
func chunks(tokens, begin []int32, size int) (out []plugin.Sequence, err error) {
	if size == 0 {
		return []plugin.Sequence{{Tokens: tokens, From: 1}}, nil
	}
	if len(tokens) < size {
		return nil, plugin.Errorf(plugin.Invalid, "there are %d tokens, fewer than the %d of a chunk; give more text or a smaller context", len(tokens), size)
	}
	for ; len(tokens) >= size; tokens = tokens[size:] {
		chunk := append([]int32(nil), tokens[:size]...)
		copy(chunk, begin)
		out = append(out, plugin.Sequence{Tokens: chunk, From: size/2 + 1})
	}
	return out, nil
}

// takes checks that a model was trained with texts of so many tokens.
func (s stored) takes(tokens int) error {
	h, err := s.head()
	if err == nil && h.context > 0 && tokens > h.context {
		err = plugin.Errorf(plugin.Invalid, "the model takes %d tokens at once, not %d; give context, to score the text in chunks, and at most that", h.context, tokens)
	}
	return err
}

// series puts the scores of one variant together. The perplexity is
// exp(-Σ ln p / n) over the n scored tokens.
func series(bypass string, scores []plugin.Score) client.ScoreSeries {
	out := client.ScoreSeries{Bypass: bypass}
	var sum, kl, agreed float64
	for _, s := range scores {
		out.LogProbs = append(out.LogProbs, s.LogProb...)
		for i, p := range s.LogProb {
			sum += float64(p)
			kl += float64(s.KL[i])
			if s.Agree[i] {
				agreed++
			}
		}
	}
	n := float64(len(out.LogProbs))
	out.Scored, out.Perplexity, out.KL, out.Agreement = len(out.LogProbs), math.Exp(-sum/n), kl/n, agreed/n
	return out
}
