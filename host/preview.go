package host

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ollama/ollama/api"

	"pare/host/client"
	"pare/host/score"
	"pare/plugin"
)

// A preview is a request for an answer as of a model without some of its layers,
// with the images that it must not have: they would be missed in silence.
type preview struct {
	client.PreviewRequest
	Messages []turn `json:"messages"`
	Images   []any  `json:"images"`
}

// A turn is a message of a chat.
type turn struct {
	client.Message
	Images []any `json:"images"`
}

// roles are those that templates know.
var roles = []string{"system", "user", "assistant", "tool"}

// postPreview answers like /api/generate. The answer comes from the scoring
// process: the runners that serve, and all who use them, notice nothing.
func (s *Server) postPreview(c *gin.Context) {
	var r preview
	if !body(c, &r) {
		return
	}
	g, err := s.generation(c.Request.Context(), r)
	if err != nil {
		fail(c, err)
		return
	}
	s.speak(c, r.Model, g, wantsStream(r.Stream))
}

// generation is what a request asks of the scoring process.
func (s *Server) generation(ctx context.Context, r preview) (g score.Generation, err error) {
	if err := r.check(); err != nil {
		return g, err
	}
	m, err := lookUp("model", r.Model)
	if err != nil {
		return g, err
	}
	bypass, err := s.bypass(ctx, m, "bypass", r.Bypass)
	if err != nil {
		return g, err
	}
	talk, err := m.chat()
	if err != nil {
		return g, err
	}
	o, err := withOptions(talk.options, r.Options)
	if err != nil {
		return g, err
	}
	h, err := m.head()
	if err != nil {
		return g, err
	}
	g = score.Generation{
		Model:    score.Model{Path: m.path, Bypass: bypass, Threads: o.NumThread},
		Sampling: sampling(h, o), Stop: o.Stop, Continue: len(r.Messages) > 0,
	}
	if g.Prompt, err = r.render(talk); err != nil {
		return g, err
	}
	g.MaxTokens, err = s.room(ctx, g, h, o)
	return g, err
}

// check refuses what no model could answer.
func (r preview) check() error {
	images := len(r.Images) > 0
	for _, t := range r.Messages {
		images = images || len(t.Images) > 0
		if !slices.Contains(roles, t.Role) {
			return plugin.Errorf(plugin.Invalid, "messages: the role %q is not known; give system, user, assistant or tool", t.Role)
		}
	}
	switch chat := len(r.Messages) > 0; {
	case images:
		return plugin.Errorf(plugin.Invalid, "a preview takes text alone; leave images out")
	case chat == (r.Prompt != ""):
		return plugin.Errorf(plugin.Invalid, "give a prompt or messages, one of the two")
	case chat && r.Raw:
		return plugin.Errorf(plugin.Invalid, "raw is for a prompt; messages need the model's template")
	case chat && r.System != "":
		return plugin.Errorf(plugin.Invalid, "system is for a prompt; give it as the first of the messages, with the role system")
	case r.Raw && r.System != "":
		return plugin.Errorf(plugin.Invalid, "a raw prompt is taken as it is; write what system says into it")
	}
	return nil
}

// render is the prompt that Ollama's server would make of the request.
func (r preview) render(talk chat) (string, error) {
	if r.Raw {
		return r.Prompt, nil
	}
	if len(r.Messages) == 0 {
		if r.System != "" {
			talk.system = r.System
		}
		return talk.render([]api.Message{{Role: "user", Content: r.Prompt}}, nil)
	}
	messages := make([]api.Message, len(r.Messages))
	for i, t := range r.Messages {
		messages[i] = api.Message{Role: t.Role, Content: t.Content}
	}
	return talk.render(messages, nil)
}

// bypass reads which layers to leave out, and has the plugin say whether they
// could be cut out for good: what could never be made is not worth a try.
func (s *Server) bypass(ctx context.Context, m stored, field, list string) ([]int, error) {
	remove, err := client.Layers(field, list)
	if err != nil || len(remove) == 0 {
		return nil, err
	}
	_, err = callPlugin(ctx, s.jobs.pruner, unnoticed, func(p plugin.Pruner) (plugin.Plan, error) {
		return p.Plan(ctx, plugin.PlanRequest{
			Model: m.gguf.Digest, Path: m.path, Folder: s.jobs.profilesFolder(), Selection: plugin.Selection{Remove: remove}, Check: true,
		})
	})
	return remove, err
}

// room is how many tokens an answer may have: num_predict, as far as num_ctx
// leaves room for them, or 0 for as many as the model takes. A prompt without
// room is refused, where Ollama would cut off its beginning.
func (s *Server) room(ctx context.Context, g score.Generation, h head, o api.Options) (int, error) {
	tokens, err := s.scorer.Tokenize(ctx, g.Model.Path, []string{g.Prompt}, true)
	if err != nil {
		return 0, err
	}
	n, most := len(tokens[0]), max(0, o.NumPredict)
	if h.context > 0 && n >= h.context {
		return 0, plugin.Errorf(plugin.Invalid, "the prompt has %d tokens, and the model takes %d with the answer; shorten the prompt", n, h.context)
	}
	if o.NumCtx <= 0 {
		return most, nil
	}
	left := o.NumCtx - n
	if left < 1 {
		return 0, plugin.Errorf(plugin.Invalid, "the prompt has %d tokens, and num_ctx takes %d with the answer; shorten the prompt, or give a larger num_ctx", n, o.NumCtx)
	}
	if most == 0 {
		return left, nil
	}
	return min(most, left), nil
}

// patience is how long a client may take to take a line.
const patience = 10 * time.Second

// speak answers, with a line of NDJSON for each piece of text, or at once. An
// error before the first line is an HTTP status, after it a line.
//
// The scoring process waits for each line to be taken. A client that takes none
// for a while loses the answer, so that others get their turn.
func (s *Server) speak(c *gin.Context, model string, g score.Generation, stream bool) {
	began, lines := time.Now(), json.NewEncoder(c.Writer)
	writer := http.NewResponseController(c.Writer)
	defer writer.SetWriteDeadline(time.Time{})
	send := func(r client.PreviewReply) error {
		_ = writer.SetWriteDeadline(time.Now().Add(patience)) // where the connection has one
		if !c.Writer.Written() {
			c.Header("Content-Type", "application/x-ndjson")
		}
		r.Model, r.CreatedAt = model, time.Now().UTC().Format(time.RFC3339Nano)
		err := lines.Encode(r)
		c.Writer.Flush()
		return err
	}
	each := func(text string) error { return send(client.PreviewReply{Response: text}) }
	if !stream {
		each = func(string) error { return nil }
	}
	a, err := s.scorer.Generate(c.Request.Context(), g, each)
	last := lastReply(a, time.Since(began))
	switch {
	case c.Request.Context().Err() != nil: // the client is gone
	case err != nil && c.Writer.Written():
		_ = send(client.PreviewReply{Error: err.Error(), Code: httpStatus(err)})
	case err != nil:
		fail(c, err)
	case stream:
		_ = send(last)
	default:
		last.Model, last.CreatedAt, last.Response = model, time.Now().UTC().Format(time.RFC3339Nano), a.Text
		c.JSON(http.StatusOK, last)
	}
}

// lastReply is the line that ends an answer.
func lastReply(a plugin.Answer, took time.Duration) client.PreviewReply {
	reason := "length"
	if a.Ended {
		reason = "stop"
	}
	return client.PreviewReply{
		Done: true, DoneReason: reason, TotalDuration: took.Nanoseconds(),
		PromptEvalCount: a.PromptTokens, PromptEvalDuration: int64(a.PromptSeconds * 1e9),
		EvalCount: a.Tokens, EvalDuration: int64(a.Seconds * 1e9),
	}
}
