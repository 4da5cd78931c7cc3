package host

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/envconfig"
	"golang.org/x/sync/errgroup"

	"pare/host/score"
	"pare/host/trace"
	"pare/plugin"
)

// lent is what a plugin may use of this server during one call.
type lent struct {
	tap    *trace.Server
	ollama *api.Client
	scorer *score.Pool
	folder string // a file to be registered must be below it
	model  string // name of the model that the call is about
	digest string // of its GGUF

	adapter string // digest of its adapter, if the call is about that; else ""
}

// lookUp finds a model that can be run, and refuses another that has taken the name of
// the one that the call is about.
func (l *lent) lookUp(name string) (stored, error) {
	s, err := l.find(name)
	if err == nil {
		err = s.alone()
	}
	return s, err
}

// find is lookUp for models with adapters as well.
func (l *lent) find(name string) (stored, error) {
	s, err := find("model", name)
	if err == nil && l.about(s) && (s.gguf.Digest != l.digest || s.adapter().Digest != l.adapter) {
		err = plugin.Errorf(plugin.Unavailable, "model %q was replaced while the job ran; ask for it again", name)
	}
	return s, err
}

// about reports whether s has the name of what the call is about.
func (l *lent) about(s stored) bool { return s.name.DisplayShortest() == l.model }

// mergeable is lookUp but for the model whose adapter the call is about.
func (l *lent) mergeable(name string) (stored, error) {
	s, err := l.find(name)
	if err == nil && (l.adapter == "" || !l.about(s)) {
		err = s.alone()
	}
	return s, err
}

// Model implements plugin.Host.
func (l *lent) Model(_ context.Context, name string) (plugin.Model, error) {
	s, err := l.mergeable(name)
	return s.model(), err
}

// Register implements plugin.Host.
func (l *lent) Register(_ context.Context, r plugin.RegisterRequest) (plugin.Model, error) {
	if _, err := l.mergeable(r.Parent); err != nil {
		return plugin.Model{}, err
	}
	path, err := l.inFolder(r.Path)
	if err != nil {
		return plugin.Model{}, fmt.Errorf("register %s: %w", r.Name, err)
	}
	r.Path = path
	if r.Adapter.Path != "" {
		if r.Adapter.Path, err = l.inFolder(r.Adapter.Path); err != nil {
			return plugin.Model{}, fmt.Errorf("register %s: %w", r.Name, err)
		}
	}
	return register(r)
}

// tries is how often a group of texts is traced before giving up on a runner
// that goes away, or a cache that answers in its place.
const tries = 3

// disturbances is how often it is tried again because others used the model.
const disturbances = 10

// Trace implements plugin.Host. The texts go through the server's own
// /api/generate, as many at a time as the server computes together.
func (l *lent) Trace(ctx context.Context, r plugin.TraceRequest, each func(plugin.TraceDelta) error) error {
	s, err := l.lookUp(r.Model)
	if err != nil {
		return err
	}
	session, err := l.session(ctx, s)
	if err != nil {
		return fmt.Errorf("trace %s: %w", r.Model, err)
	}
	defer session.Stop()
	together := max(1, int(envconfig.NumParallel()))
	for len(r.Texts) > 0 {
		n := min(together, len(r.Texts))
		delta, err := l.traceGroup(ctx, session, s, r.Texts[:n])
		if err != nil {
			return err
		}
		if err := each(delta); err != nil {
			return err
		}
		r.Texts = r.Texts[n:]
	}
	return nil
}

// session waits for its turn at a model: a call whose plugin crashed may still be
// letting go of it.
func (l *lent) session(ctx context.Context, s stored) (*trace.Session, error) {
	for {
		session, err := l.tap.Start(ctx, s.path, trace.PromptTokens)
		if !errors.Is(err, trace.ErrBusy) {
			return session, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// traceGroup sends texts together and collects what the tap measured of them. It
// tries again when the runner was lost, when most of a text came from the
// runner's prefix cache, which computes nothing, or when requests of others were computed
// meanwhile; what such a try measured is thrown away. On a server that is never
// idle the last try stands, and says so.
func (l *lent) traceGroup(ctx context.Context, session *trace.Session, s stored, texts []plugin.Text) (plugin.TraceDelta, error) {
	for lost, disturbed := 0, 0; ; {
		if err := l.displace(ctx, session, s, texts); err != nil {
			return plugin.TraceDelta{}, err
		}
		delta, err := l.traceOnce(ctx, session, s, texts)
		switch others := foreign(delta); {
		case err != nil:
			if lost++; lost == tries || plugin.KindOf(err) != plugin.Unavailable {
				return plugin.TraceDelta{}, err
			}
		case others == 0:
			return delta, nil
		default:
			if disturbed++; disturbed == disturbances {
				delta.Faults = append(delta.Faults, plugin.Fault{
					Reason: "requests of others were computed at the same time", Graphs: 1, Counted: true,
				})
				return delta, nil
			}
		}
	}
}

// foreign is how many tokens were measured beyond those of the texts. One a text may be
// the answer's.
func foreign(d plugin.TraceDelta) int64 {
	more := measured(d) - d.Expected - int64(len(d.Texts))
	return max(0, more)
}

// measured is how many tokens the tap saw.
func measured(d plugin.TraceDelta) int64 { return d.All.Tokens + d.First.Tokens + d.LeftOut }

// traceOnce is one try of traceGroup; an error that another try may mend is of
// the kind Unavailable.
func (l *lent) traceOnce(ctx context.Context, session *trace.Session, s stored, texts []plugin.Text) (plugin.TraceDelta, error) {
	name := s.name.DisplayShortest()
	expected, err := l.run(ctx, s, texts)
	if err != nil {
		return plugin.TraceDelta{}, err
	}
	drained, err := session.Drain(ctx)
	delta := drained.TraceDelta
	if errors.Is(err, trace.ErrRunnerGone) {
		return delta, plugin.Errorf(plugin.Unavailable, "trace %s: %w", name, err)
	}
	if err != nil {
		return delta, fmt.Errorf("trace %s: %w", name, err)
	}
	delta.Model, delta.Expected = s.gguf.Digest, expected
	for _, t := range texts {
		delta.Texts = append(delta.Texts, t.Digest)
	}
	return delta, enough(name, delta)
}

// enough refuses a delta that misses more than a tenth of the expected tokens,
// for which it names the reason. Tokens that the tap left out for want of memory
// are not missing: another try would leave out the same.
func enough(name string, d plugin.TraceDelta) error {
	seen := measured(d)
	if seen*10 >= d.Expected*9 {
		return nil
	}
	for _, f := range d.Faults {
		if !f.Counted {
			return plugin.Errorf(plugin.Unavailable, "trace %s: %d of %d tokens could not be traced: %s", name, d.Expected-seen, d.Expected, f.Reason)
		}
	}
	if seen == 0 {
		return plugin.Errorf(plugin.Unavailable, "trace %s: nothing was measured: its runner has lost touch with the server, or had the text in its cache; unload it (`pare stop %s`) and ask again", name, name)
	}
	return plugin.Errorf(plugin.Unavailable, "trace %s: %d of %d tokens were computed, the rest came from the prompt cache; ask again", name, seen, d.Expected)
}

// run has the server evaluate texts as prompts and returns how many tokens they
// were, by its own count.
func (l *lent) run(ctx context.Context, s stored, texts []plugin.Text) (int64, error) {
	counts := make([]int64, len(texts))
	g, ctx := errgroup.WithContext(ctx)
	for i, t := range texts {
		g.Go(func() (err error) {
			counts[i], err = l.evaluate(ctx, s, t.Text)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	var sum int64
	for _, n := range counts {
		sum += n
	}
	return sum, nil
}

// leastAlive is how long a runner stays behind a text at least: what it measured is not told
// before the answer.
const leastAlive = time.Minute

// evaluate has the server evaluate one prompt, as it is and whole.
func (l *lent) evaluate(ctx context.Context, s stored, text string) (tokens int64, err error) {
	no := false
	err = l.ollama.Generate(ctx, &api.GenerateRequest{
		Model:     s.name.String(),
		Prompt:    text,
		Raw:       true,
		Stream:    &no,
		Truncate:  &no,
		KeepAlive: &api.Duration{Duration: max(envconfig.KeepAlive(), leastAlive)},
		Options:   map[string]any{"num_predict": 1, "temperature": 0},
	}, func(r api.GenerateResponse) error {
		tokens = int64(r.PromptEvalCount)
		return nil
	})
	return tokens, evaluateError(s, err)
}

func evaluateError(s stored, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	name := s.name.DisplayShortest()
	var status api.StatusError
	if errors.As(err, &status) && status.StatusCode == http.StatusBadRequest {
		return &plugin.Error{Kind: plugin.Refused, Err: fmt.Errorf("run text through %s: %w", name, err), Hint: "a piece of text is up to 2,000 characters: the model's num_ctx must hold it"}
	}
	return plugin.Errorf(plugin.Unavailable, "run text through %s: %w", name, err)
}

// displace fills the runner's prefix caches with something that texts do not
// begin with, starting a runner if there is none, and throws away what was
// measured so far. What is measured next does not depend on what the model was
// asked before: a trace that was cut short goes on as if it had not been.
func (l *lent) displace(ctx context.Context, session *trace.Session, s stored, texts []plugin.Text) error {
	if _, err := l.run(ctx, s, unlike(texts)); err != nil && plugin.KindOf(err) != plugin.Unavailable {
		return err
	}
	_, err := session.Drain(ctx)
	for errors.Is(err, trace.ErrRunnerGone) && ctx.Err() == nil {
		_, err = session.Drain(ctx) // it kept what other runners gave
	}
	if err != nil {
		return fmt.Errorf("trace %s: %w", s.name.DisplayShortest(), err)
	}
	return ctx.Err()
}

// unlike returns as many texts of one letter, none of which begins one of texts.
func unlike(texts []plugin.Text) (out []plugin.Text) {
	begins := map[rune]bool{}
	for _, t := range texts {
		first, _ := utf8.DecodeRuneInString(t.Text)
		begins[first] = true
	}
	for c := 'a'; len(out) < len(texts); c++ {
		if !begins[c] {
			out = append(out, plugin.Text{Text: string(c)})
		}
	}
	return out
}
