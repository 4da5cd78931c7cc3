package score

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"pare/plugin"
)

// Config says how a Pool works. The zero value does.
type Config struct {
	Executable string        // run with the argument Verb; this process's own by default
	Idle       time.Duration // after which the process ends; 5 minutes by default
	Log        *slog.Logger

	// MakeRoom frees memory that others hold, where the models of a request do
	// not fit into what GPUs have, and reports whether it freed any. It may be nil.
	MakeRoom func(ctx context.Context) bool
}

// A Pool has at most one scoring process. It holds the models of the latest request. Who asks while it is busy waits for
// a turn, first come first served; long requests give others theirs in between.
// All methods may be called at the same time.
type Pool struct {
	config Config
	turns  turns
	closed context.Context
	close  context.CancelFunc
	idle   *time.Timer

	// The rest belongs to the one whose turn it is; only Close kills a child that
	// is another's.
	child atomic.Pointer[child]
	used  time.Time       // last
	room  map[string]bool // the files that the child asked room for
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
	p.idle = time.AfterFunc(c.Idle, p.rest)
	return p
}

// Close ends the process for good, with what it is doing. Who takes what it said and
// does not come back is not waited for.
func (p *Pool) Close() {
	p.close()
	if c := p.child.Load(); c != nil {
		c.cmd.Process.Kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if p.turns.take(ctx) == nil {
		p.end()
		p.turns.give()
	}
	p.idle.Stop()
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

// Transcribe turns chats into tokens of the model at path.
func (p *Pool) Transcribe(ctx context.Context, path string, chats []Chat) (transcripts []plugin.Transcript, err error) {
	err = p.turn(ctx, func(ctx context.Context, c *child) error {
		return c.ask(ctx, Request{Transcribe: &Transcribe{Path: path, Chats: chats}}, func(r Reply) error {
			transcripts = append(transcripts, r.Transcripts...)
			return nil
		})
	})
	if err == nil && len(transcripts) != len(chats) {
		err = fmt.Errorf("transcribe: %d answers to %d chats", len(transcripts), len(chats))
	}
	return transcripts, err
}

// Observe runs sequences through a model and calls each with what it computed for
// one of them, in their order. Others get their turn between two.
func (p *Pool) Observe(ctx context.Context, o Observe, each func(plugin.Observation) error) error {
	if err := o.check(); err != nil {
		return err
	}
	longest := 0
	for _, s := range o.Sequences {
		longest = max(longest, len(s))
	}
	for i := range o.Sequences {
		one := o
		one.Sequences, one.First = o.Sequences[i:i+1], o.First+i
		err := p.turn(ctx, func(ctx context.Context, c *child) error {
			if err := p.open(ctx, c, []Model{o.Model}, longest); err != nil {
				return err
			}
			return c.ask(ctx, Request{Observe: &one}, func(r Reply) error {
				if r.Observation == nil {
					return nil
				}
				o, err := r.Observation.unpack()
				if err != nil {
					return err
				}
				return each(o)
			})
		})
		if err != nil {
			return err
		}
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

// Answer goes on from several prompts and calls each with every answer, in the order in
// which they end. Others get their turn after the last.
func (p *Pool) Answer(ctx context.Context, a Answers, each func(plugin.Answer) error) error {
	if err := a.check(); err != nil {
		return err
	}
	answers := 0
	err := p.turn(ctx, func(ctx context.Context, c *child) error {
		if err := p.open(ctx, c, append([]Model{a.Model}, a.Beside...), 0); err != nil {
			return err
		}
		return c.ask(ctx, Request{Answers: &a}, func(r Reply) error {
			if r.Answer == nil {
				return nil
			}
			answers++
			return each(*r.Answer)
		})
	})
	if err == nil && answers != len(a.Prompts) {
		err = fmt.Errorf("answer %d prompts: %d answers", len(a.Prompts), answers)
	}
	return err
}

// Footprint measures what the model at path takes in a process of its own, which
// ends with that. No other runs beside it: it would hold memory that counts.
func (p *Pool) Footprint(ctx context.Context, path string) (f plugin.Footprint, err error) {
	err = p.alone(ctx, func(ctx context.Context) error {
		defer p.end()
		var short []string
		if f, short, err = p.measure(ctx, path); err == nil && p.madeRoom(ctx, short) {
			f, _, err = p.measure(ctx, path)
		}
		return err
	})
	return f, err
}

// Floats computes the numbers of data, whole blocks of a type that is known by its
// number in ggml.
func (p *Pool) Floats(ctx context.Context, kind uint32, data []byte) (floats []float32, err error) {
	err = p.turn(ctx, func(ctx context.Context, c *child) error {
		return c.ask(ctx, Request{Floats: &Floats{kind, data}}, func(r Reply) error {
			floats, err = unpackFloats(r.Floats)
			return err
		})
	})
	return floats, err
}

// measure asks a new process for a footprint.
func (p *Pool) measure(ctx context.Context, path string) (f plugin.Footprint, short []string, err error) {
	p.end()
	c, err := p.process()
	if err != nil {
		return f, nil, err
	}
	err = c.ask(ctx, Request{Footprint: &Footprint{Path: path}}, func(r Reply) error {
		if r.Footprint != nil {
			f = *r.Footprint
		}
		if r.Opened.partly() {
			short = append(short, path)
		}
		return nil
	})
	return f, short, err
}

// turn calls do with the process when it is the caller's turn.
func (p *Pool) turn(ctx context.Context, do func(context.Context, *child) error) error {
	return p.alone(ctx, func(ctx context.Context) error {
		c, err := p.process()
		if err != nil {
			return err
		}
		return do(ctx, c)
	})
}

// alone calls do when it is the caller's turn.
func (p *Pool) alone(ctx context.Context, do func(context.Context) error) error {
	ctx, stop := p.until(ctx)
	defer stop()
	if err := p.turns.take(ctx); err != nil {
		return p.stopping(err)
	}
	defer p.release()
	if ctx.Err() != nil {
		return p.stopping(ctx.Err())
	}
	return p.stopping(do(ctx))
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
	p.idle.Reset(p.config.Idle)
	p.turns.give()
}

// rest ends a process that is idle.
func (p *Pool) rest() {
	if !p.turns.try() {
		return // who has it releases it later
	}
	if time.Since(p.used) >= p.config.Idle {
		p.end()
	}
	p.turns.give()
}

// process is the child, started if there is none.
func (p *Pool) process() (*child, error) {
	c := p.child.Load()
	if c != nil && c.exited() {
		p.config.Log.Warn("the scoring process had ended; starting it again")
		p.end()
		c = nil
	}
	if c != nil {
		return c, nil
	}
	c, err := p.start()
	if err != nil {
		return nil, err
	}
	p.child.Store(c)
	return c, nil
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
	if c := p.child.Load(); c != nil {
		c.stop()
		p.child.Store(nil)
		p.room = nil
	}
}

// open has the process load models. Where GPUs do not hold all of them, room is made
// once, and those are loaded anew.
func (p *Pool) open(ctx context.Context, c *child, models []Model, longest int) error {
	open := Open{Models: models, Context: longest}
	var short []string
	note := func(r Reply) error {
		if o := r.Opened; o.partly() {
			p.config.Log.Info("a model does not fit", "path", o.Path, "layers", o.Layers, "offloaded", o.Offloaded)
			short = append(short, o.Path)
		}
		return nil
	}
	if err := c.ask(ctx, Request{Open: &open}, note); err != nil || !p.madeRoom(ctx, short) {
		return err
	}
	open.Again = true
	return c.ask(ctx, Request{Open: &open}, note)
}

// madeRoom reports whether memory was freed for files that GPUs hold in part. A
// process asks once for each: what serves meanwhile is not to be ended again and again.
func (p *Pool) madeRoom(ctx context.Context, files []string) bool {
	files = slices.DeleteFunc(files, func(f string) bool { return p.room[f] })
	if len(files) == 0 || p.config.MakeRoom == nil {
		return false
	}
	if p.room == nil {
		p.room = map[string]bool{}
	}
	for _, f := range files {
		p.room[f] = true
	}
	return p.config.MakeRoom(ctx)
}
