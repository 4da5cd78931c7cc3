package trace

import (
	"context"
	"errors"

	"pare/host/trace/wire"
)

// Taps are those of all runners of a model. One session has them at a time: a job's,
// or else the watch.
type taps struct {
	changing chan struct{} // holds one token, taken until all runners know who has them

	// Under the server's lock.
	job, watch *Session
}

// holder is the session that has the taps, or nil.
func (t *taps) holder() *Session {
	if t.job != nil {
		return t.job
	}
	return t.watch
}

// first is what a runner is told when session holder takes its tap.
func first(holder *Session) wire.Command {
	if holder == nil {
		return wire.Command{Op: wire.Stop}
	}
	return holder.begin
}

// change lets a model's taps change hands, and tells its runners. What they measured
// for whoever had them is delivered.
func (s *Server) change(ctx context.Context, model string, hands func(*taps) error) error {
	t := s.tapsOf(model)
	select {
	case <-t.changing:
		defer func() { t.changing <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	before := t.holder()
	if err := hands(t); err != nil {
		s.mu.Unlock()
		return err
	}
	after := t.holder()
	runners := s.of(model)
	s.mu.Unlock()
	if after == before {
		return nil
	}
	var failed error
	for _, r := range runners {
		if err := r.call(ctx, first(after)); err != nil && !errors.Is(err, ErrRunnerGone) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func (s *Server) tapsOf(model string) *taps {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.taps[model]
	if t == nil {
		t = &taps{changing: make(chan struct{}, 1)}
		t.changing <- struct{}{}
		s.taps[model] = t
	}
	return t
}
