package score

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"pare/plugin"
)

// Config says how a Pool works. The zero value does.
type Config struct {
	Executable string        // run with the argument Verb; this process's own by default
	Idle       time.Duration // after which the process ends; 5 minutes by default
	Log        *slog.Logger

	// MakeRoom frees memory that others hold, where the models of a request do
	// not fit into what there is. It may be nil.
	MakeRoom func(ctx context.Context)
}

// A Pool has at most one scoring process, beside those that measure a footprint.
// It holds the models of the latest request. Who asks while it is busy waits for
// a turn, first come first served; long requests give others theirs in between.
// All methods may be called at the same time.
type Pool struct {
	config Config
	turns  turns
	closed context.Context
	close  context.CancelFunc

	// The rest belongs to the one whose turn it is.
	child *child
	used  time.Time // last
	room  string    // the models that room was made for
}

// NewPool returns a Pool; no process is started before it is needed.
func NewPool(c Config) *Pool {
	if c.Idle == 0 {
		c.Idle = 5 * time.Minute
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	p := &Pool{config: c}
	p.closed, p.close = context.WithCancel(context.Background())
	return p
}

// Close ends the process for good, with what it is doing.
func (p *Pool) Close() {
	p.close()
	p.turns.take(context.Background())
	p.end()
	p.turns.give()
}

// Tokenize turns texts into tokens of the model at path, each with the token that
// begins a text where the model has one. With special, names of special tokens in
// a text stand for them, as in what a template makes.
func (p *Pool) Tokenize(ctx context.Context, path string, texts []string, special bool) (tokens [][]int32, err error) {
	err = p.turn(ctx, func(ctx context.Context, c *child) error {
		return c.ask(ctx, Request{Tokenize: &Tokenize{Path: path, Texts: texts, Special: special}}, func(r Reply) error {
			tokens = append(tokens, r.Tokens...)
			return nil
		})
	})
	if err == nil && len(tokens) != len(texts) {
		err = fmt.Errorf("tokenize: %d answers to %d texts", len(tokens), len(texts))
	}
	return tokens, err
}

// Score runs sequences through variants and calls each with what came of it, in
// the order that [plugin.Host] promises. Others get their turn between two groups
// of sequences that share a beginning.
func (p *Pool) Score(ctx context.Context, variants []Model, sequences []plugin.Sequence, compare bool, each func(plugin.Score) error) error {
	if err := check(variants, sequences); err != nil {
		return err
	}
	longest := 0
	for _, s := range sequences {
		longest = max(longest, len(s.Tokens))
	}
	for first := 0; first < len(sequences); {
		n := group(sequences[first:])
		some := &Score{Variants: variants, Sequences: sequences[first : first+n], Compare: compare}
		err := p.turn(ctx, func(ctx context.Context, c *child) error {
			if err := p.open(ctx, c, variants, longest); err != nil {
				return err
			}
			return c.ask(ctx, Request{Score: some}, func(r Reply) error {
				if r.Score == nil {
					return nil
				}
				r.Score.Sequence += first
				return each(*r.Score)
			})
		})
		if err != nil {
			return err
		}
		first += n
	}
	return nil
}

// Generate goes on from a prompt and calls each with the answer piece by piece,
// in whole characters. The Answer's Prompt and Variant are 0.
func (p *Pool) Generate(ctx context.Context, g Generation, each func(text string) error) (answer plugin.Answer, err error) {
	if err := g.Model.check(); err != nil {
		return answer, err
	}
	err = p.turn(ctx, func(ctx context.Context, c *child) error {
		if err := p.open(ctx, c, append([]Model{g.Model}, g.Beside...), 0); err != nil {
			return err
		}
		return c.ask(ctx, Request{Generate: &g}, func(r Reply) error {
			if r.Answer != nil {
				answer = *r.Answer
			}
			if r.Text == "" {
				return nil
			}
			return each(r.Text)
		})
	})
	return answer, err
}

// Footprint measures what the model at path takes in a process of its own, which
// ends with that.
func (p *Pool) Footprint(ctx context.Context, path string) (f plugin.Footprint, err error) {
	ctx, stop := p.until(ctx)
	defer stop()
	c, err := p.start()
	if err != nil {
		return f, err
	}
	defer c.stop()
	err = c.ask(ctx, Request{Footprint: &Footprint{Path: path}}, func(r Reply) error {
		if r.Footprint != nil {
			f = *r.Footprint
		}
		return nil
	})
	return f, p.stopping(err)
}

// turn calls do with the process when it is the caller's turn.
func (p *Pool) turn(ctx context.Context, do func(context.Context, *child) error) error {
	ctx, stop := p.until(ctx)
	defer stop()
	if err := p.turns.take(ctx); err != nil {
		return p.stopping(err)
	}
	defer p.release()
	if ctx.Err() != nil {
		return p.stopping(ctx.Err())
	}
	if p.child != nil && p.child.exited() {
		p.config.Log.Warn("the scoring process had ended; starting it again")
		p.end()
	}
	if p.child == nil {
		c, err := p.start()
		if err != nil {
			return err
		}
		p.child, p.room = c, ""
	}
	return p.stopping(do(ctx, p.child))
}

// until returns a context that ends with ctx and when the pool is closed.
func (p *Pool) until(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(p.closed, cancel)
	return ctx, func() { detach(); cancel() }
}

// stopping is err, or, of what the end of the pool cut off, an error that says so.
func (p *Pool) stopping(err error) error {
	if errors.Is(err, context.Canceled) && p.closed.Err() != nil {
		return plugin.Errorf(plugin.Unavailable, "the server is stopping")
	}
	return err
}

// release gives the turn to the next, and sees to it that an idle process ends.
func (p *Pool) release() {
	p.used = time.Now()
	p.turns.give()
	time.AfterFunc(p.config.Idle, func() {
		if !p.turns.try() {
			return // who has it releases it later
		}
		if time.Since(p.used) >= p.config.Idle {
			p.end()
		}
		p.turns.give()
	})
}

// start runs a scoring process.
func (p *Pool) start() (*child, error) {
	executable := p.config.Executable
	if executable == "" {
		var err error
		if executable, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("start the scoring process: %w", err)
		}
	}
	return start(executable, p.config.Log)
}

// end ends the process, if there is one.
func (p *Pool) end() {
	if p.child != nil {
		p.child.stop()
		p.child = nil
	}
}

// open has the process load models. Where they do not fit, room is made for them
// once, and they are loaded anew.
func (p *Pool) open(ctx context.Context, c *child, models []Model, longest int) error {
	open := Open{Models: models, Context: longest}
	short := false
	note := func(r Reply) error {
		if o := r.Opened; o != nil && o.Short {
			p.config.Log.Info("a model does not fit", "path", o.Path, "layers", o.Layers, "offloaded", o.Offloaded)
			short = true
		}
		return nil
	}
	if err := c.ask(ctx, Request{Open: &open}, note); err != nil {
		return err
	}
	files := strings.Join(paths(models), "\n")
	if !short || p.config.MakeRoom == nil || p.room == files {
		return nil
	}
	p.config.MakeRoom(ctx)
	p.room, open.Again = files, true
	return c.ask(ctx, Request{Open: &open}, note)
}
