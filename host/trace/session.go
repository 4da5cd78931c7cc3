package trace

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"pare/host/trace/wire"
	"pare/plugin"
)

// lostSums is the fault that stands for the sums of a runner that ended.
const lostSums = "a model runner ended before its sums were collected"

// Tokens says which tokens a job's session measures.
type Tokens bool

const (
	// AllTokens are those of prompts and those that the model makes.
	AllTokens Tokens = false
	// PromptTokens are those the model is given. How many it makes depends on
	// the engine: one of them computes a token more than it was asked for, and
	// may or may not be done with it when the sums are collected.
	PromptTokens Tokens = true
)

// watchBudget bounds, in bytes, what the residuals of one pass may take while
// nobody asked for them: 512 tokens of a model with 32 layers 1,024 wide fit, and of
// larger ones some tokens of a long prompt are left out.
const watchBudget = 64 << 20

// A Session traces all runners of one model.
type Session struct {
	server *Server
	id     uint64
	begin  wire.Command // what its runners are told first
	model  string       // key
	watch  bool

	mu      sync.Mutex
	pending Drained          // not yet handed out
	failed  error            // sums that could not be added
	lost    map[*runner]bool // runners whose loss has been counted
	stopped bool
}

// Drained is what a session has measured.
type Drained struct {
	plugin.TraceDelta
	Skipped int64 // tokens that were computed, and not measured because the lot left them out
}

// Start begins to trace the runners of the GGUF at modelPath for a job: those
// connected and those to come, which trace from their first token. It returns
// [ErrBusy] if another job has the model; a watch is suspended. Call [Session.Stop]
// in the end.
func (s *Server) Start(ctx context.Context, modelPath string, tokens Tokens) (*Session, error) {
	session := s.newSession(modelPath, wire.Command{Op: wire.Start, Prompts: bool(tokens)})
	if err := session.take(ctx, func(t *taps) **Session { return &t.job }); err != nil {
		return nil, fmt.Errorf("start trace: %w", err)
	}
	return session, nil
}

// Watch begins to trace whatever the runners of the GGUF at modelPath compute,
// prompts and answers alike, while no job traces it. Of the forward passes it
// measures a share, above 0 and at most 1, drawn by lot. It returns [ErrBusy] if the
// model is watched already.
func (s *Server) Watch(ctx context.Context, modelPath string, share float64) (*Session, error) {
	session := s.newSession(modelPath, wire.Command{Op: wire.Start, Share: share, Budget: watchBudget})
	session.watch = true
	if err := session.take(ctx, func(t *taps) **Session { return &t.watch }); err != nil {
		return nil, fmt.Errorf("watch model: %w", err)
	}
	return session, nil
}

// take gives the session a place among those of its model, if that is free; else it is
// stopped.
func (s *Session) take(ctx context.Context, place func(*taps) **Session) error {
	err := s.server.change(ctx, s.model, func(t *taps) error {
		if p := place(t); *p == nil {
			*p = s
			return nil
		}
		return ErrBusy
	})
	if err != nil {
		s.Stop()
	}
	return err
}

func (s *Server) newSession(modelPath string, begin wire.Command) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	begin.Session = s.last
	session := &Session{server: s, id: s.last, begin: begin, model: modelKey(modelPath), lost: make(map[*runner]bool)}
	s.sessions[session.id] = session
	return session
}

// Drain returns the sums since the last call, over all runners of the model. If
// nothing was traced its Layers are zero; its Faults may say why. Its Model and
// Expected are for the caller to fill in.
//
// With any error the sums collected so far are kept for the next call. After
// [ErrRunnerGone] the call can be repeated at once.
func (s *Session) Drain(ctx context.Context) (Drained, error) {
	s.server.mu.Lock()
	runners := s.server.of(s.model)
	s.server.mu.Unlock()
	var failed error
	for _, r := range runners {
		err := r.call(ctx, wire.Command{Op: wire.Drain, Session: s.id})
		if errors.Is(err, ErrRunnerGone) {
			s.lose(r)
			if s.watch {
				continue // a model that is unloaded is no fault
			}
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("drain trace: %w", err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	failed, s.failed = errors.Join(failed, s.failed), nil
	if failed != nil {
		return Drained{}, failed
	}
	d := s.pending
	s.pending = Drained{}
	return d, nil
}

// Stop ends tracing. What a job did not drain is lost; a watch can be drained once
// more. It can be called twice.
func (s *Session) Stop() {
	// A runner answers after the graph it computes, which may take a while; one
	// that never does is disconnected, and that ends its tracing too.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.server.change(ctx, s.model, s.leave)
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if err != nil { // somebody else was changing hands all the time
		s.leave(s.server.taps[s.model])
	}
	delete(s.server.sessions, s.id)
}

// leave gives up the session's place among those of its model.
func (s *Session) leave(t *taps) error {
	switch s {
	case t.job:
		t.job = nil
	case t.watch:
		t.watch = nil
	}
	return nil
}

// deliver adds the sums of a reply to the pending ones.
func (s *Session) deliver(r wire.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending.Skipped += r.Skipped
	if r.Delta == nil {
		return
	}
	if err := s.merge(r.Delta); err != nil {
		s.failed = errors.Join(s.failed, fmt.Errorf("drain trace: %w", err))
	}
}

// merge adds a runner's sums to the pending ones. s.mu must be held.
func (s *Session) merge(d *plugin.TraceDelta) error {
	if d.Layers != 0 {
		if err := d.Validate(); err != nil {
			return fmt.Errorf("check runner's sums: %w", err)
		}
	}
	if err := s.pending.Add(*d); err != nil {
		return fmt.Errorf("check runner's sums: %w", err)
	}
	return nil
}

// lose counts, once, a runner that ended and took a job's sums with it.
func (s *Session) lose(r *runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.watch && !s.lost[r] && !s.stopped {
		s.lost[r] = true
		s.pending.Fault(plugin.Fault{Reason: lostSums, Graphs: 1})
	}
}
