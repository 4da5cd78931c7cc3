package engine

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"

	"pare/host/score"
	"pare/plugin"
)

// Serve answers the requests that come in, one after another, until in ends or
// ctx is done. What runs then is stopped between two batches.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := begin(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := newEngine()
	defer e.close()
	d := &desk{requests: make(chan task)}
	go func() {
		defer cancel()
		d.receive(ctx, gob.NewDecoder(in))
	}()
	replies := gob.NewEncoder(out)
	for {
		select {
		case t := <-d.requests:
			err := e.answer(t.ctx, t.Request, func(r score.Reply) error { return replies.Encode(r) })
			last := score.Reply{Done: true}
			if err != nil {
				last.Failure = score.Fail(err)
			}
			t.done()
			if err := replies.Encode(last); err != nil && ctx.Err() == nil {
				return fmt.Errorf("answer the server: %w", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// A task is a request with what ends it early.
type task struct {
	score.Request
	ctx  context.Context
	done context.CancelFunc
}

// A desk takes requests in while one is being answered, as it may be cancelled.
type desk struct {
	requests chan task
	latest   task
}

func (d *desk) receive(ctx context.Context, in *gob.Decoder) {
	for {
		var r score.Request
		if in.Decode(&r) != nil {
			return
		}
		if r.Cancel {
			if d.latest.done != nil && d.latest.ID == r.ID {
				d.latest.done()
			}
			continue
		}
		t := task{Request: r}
		t.ctx, t.done = context.WithCancel(ctx)
		d.latest = t
		select {
		case d.requests <- t:
		case <-ctx.Done():
			return
		}
	}
}

// answer sends the replies to a request, without the last.
func (e *engine) answer(ctx context.Context, r score.Request, reply func(score.Reply) error) error {
	switch {
	case r.Open != nil:
		opened, err := e.open(r.Open.Models, r.Open.Context, r.Open.Again)
		for _, o := range opened {
			err = errors.Join(err, reply(score.Reply{Opened: &o}))
		}
		return err
	case r.Tokenize != nil:
		tokens, err := e.tokenize(r.Tokenize)
		if err != nil {
			return err
		}
		return reply(score.Reply{Tokens: tokens})
	case r.Transcribe != nil:
		transcripts, err := e.transcribe(r.Transcribe)
		if err != nil {
			return err
		}
		return reply(score.Reply{Transcripts: transcripts})
	case r.Observe != nil:
		if err := e.opened([]score.Model{r.Observe.Model}); err != nil {
			return err
		}
		return e.observe(ctx, r.Observe, func(o plugin.Observation) error { return reply(score.Reply{Observation: score.Pack(o)}) })
	case r.Score != nil:
		if err := e.opened(r.Score.Variants); err != nil {
			return err
		}
		return e.score(ctx, r.Score, func(s plugin.Score) error { return reply(score.Reply{Score: &s}) })
	case r.Generate != nil:
		if err := e.opened([]score.Model{r.Generate.Model}); err != nil {
			return err
		}
		a, err := e.generate(ctx, r.Generate, func(text string) error { return reply(score.Reply{Text: text}) })
		if err != nil {
			return err
		}
		return reply(score.Reply{Answer: &a})
	case r.Answers != nil:
		if err := e.opened([]score.Model{r.Answers.Model}); err != nil {
			return err
		}
		return e.together(ctx, r.Answers, func(a plugin.Answer) error { return reply(score.Reply{Answer: &a}) })
	case r.Footprint != nil:
		f, err := e.footprint(ctx, r.Footprint.Path, func(o score.Opened) error { return reply(score.Reply{Opened: &o}) })
		if err != nil {
			return err
		}
		return reply(score.Reply{Footprint: &f})
	case r.Floats != nil:
		w, err := toFloats(r.Floats.Type, r.Floats.Data)
		if err != nil {
			return err
		}
		return reply(score.Reply{Floats: score.PackFloats(w)})
	}
	return errors.New("the scoring process got an empty request; the server is of another version")
}

// opened checks that a request to open these models came before.
func (e *engine) opened(models []score.Model) error {
	for _, m := range models {
		if e.models[m.Path] == nil {
			return fmt.Errorf("run %s: it is not open", m.Path)
		}
	}
	if len(models) == 0 {
		return errors.New("run no model")
	}
	return nil
}
