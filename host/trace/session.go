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

// Tokens says which tokens a session measures.
type Tokens wire.Op

const (
	// AllTokens are those of prompts and those that the model makes.
	AllTokens = Tokens(wire.Start)

	// PromptTokens are those the model is given. How many it makes depends on
	// the engine: one of them computes a token more than it was asked for, and
	// may or may not be done with it when the sums are collected.
	PromptTokens = Tokens(wire.Prompts)
)

// A Session traces all runners of one model. At a time a model has one session.
type Session struct {
	server *Server
	begin  wire.Op // what its runners are told first
	model  string  // key

	mu      sync.Mutex
	pending plugin.TraceDelta // drained, but not yet handed out
	lost    map[*runner]bool  // runners whose loss has been counted
	stopped bool
}

// Start begins to trace the runners of the GGUF at modelPath, those connected
// and those to come, which trace from their first token. It returns [ErrBusy] if
// another session has the model. Call [Session.Stop] in the end.
func (s *Server) Start(ctx context.Context, modelPath string, tokens Tokens) (*Session, error) {
	session := &Session{server: s, begin: wire.Op(tokens), model: modelKey(modelPath), lost: make(map[*runner]bool)}
	s.mu.Lock()
	if s.sessions[session.model] != nil {
		s.mu.Unlock()
		return nil, ErrBusy
	}
	s.sessions[session.model] = session
	runners := s.of(session.model)
	s.mu.Unlock()

	for _, r := range runners {
		_, err := r.call(ctx, session.begin)
		if errors.Is(err, ErrRunnerGone) {
			continue
		}
		if err != nil {
			session.Stop()
			return nil, fmt.Errorf("start trace: %w", err)
		}
	}
	return session, nil
}

// Drain returns the sums since the last call, over all runners of the model. If
// nothing was traced its Layers are zero; its Faults may say why. Its Model and
// Expected are for the caller to fill in.
//
// With any error the sums collected so far are kept for the next call. After
// [ErrRunnerGone] the call can be repeated at once.
func (s *Session) Drain(ctx context.Context) (plugin.TraceDelta, error) {
	s.server.mu.Lock()
	runners := s.server.of(s.model)
	s.server.mu.Unlock()

	var failed error
	for _, r := range runners {
		reply, err := r.call(ctx, wire.Drain)
		if err == nil && reply.Delta != nil {
			err = s.merge(reply.Delta)
		}
		if errors.Is(err, ErrRunnerGone) {
			s.lose(r)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("drain trace: %w", err))
		}
	}
	if failed != nil {
		return plugin.TraceDelta{}, failed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.pending
	s.pending = plugin.TraceDelta{}
	return d, nil
}

// Stop ends tracing. What was not drained is lost. It can be called twice.
func (s *Session) Stop() {
	s.mu.Lock()
	stopped := s.stopped
	s.stopped = true
	s.mu.Unlock()
	if stopped {
		return
	}
	s.server.mu.Lock()
	runners := s.server.of(s.model)
	s.server.mu.Unlock()
	// A runner answers after the graph it computes, which may take a while; one
	// that never does is disconnected, and that ends its tracing too.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, r := range runners {
		r.call(ctx, wire.Stop)
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	delete(s.server.sessions, s.model)
}

// active reports whether runners are to be traced. A session that is being
// stopped keeps its model, so that its last commands do not meet another's first.
func (s *Session) active() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.stopped
}

// merge adds a runner's sums to the pending ones.
func (s *Session) merge(d *plugin.TraceDelta) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range d.Faults {
		s.fault(f)
	}
	if d.Layers == 0 {
		return nil
	}
	if err := d.Validate(); err != nil {
		return fmt.Errorf("check runner's sums: %w", err)
	}
	if s.pending.Layers == 0 {
		faults := s.pending.Faults
		s.pending = *d
		s.pending.Faults = faults
		return nil
	}
	if s.pending.Layers != d.Layers || s.pending.Hidden != d.Hidden {
		return fmt.Errorf("check runner's sums: %d layers %d wide, others had %d and %d",
			d.Layers, d.Hidden, s.pending.Layers, s.pending.Hidden)
	}
	s.pending.All.Add(d.All)
	s.pending.Last.Add(d.Last)
	s.pending.First.Add(d.First)
	s.pending.LeftOut += d.LeftOut
	return nil
}

// lose counts, once, a runner that ended and took its sums with it.
func (s *Session) lose(r *runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lost[r] && !s.stopped {
		s.lost[r] = true
		s.fault(plugin.Fault{Reason: lostSums, Graphs: 1})
	}
}

// fault adds to the pending faults. s.mu must be held.
func (s *Session) fault(f plugin.Fault) {
	for i := range s.pending.Faults {
		if have := s.pending.Faults[i]; have.Reason == f.Reason && have.Counted == f.Counted {
			s.pending.Faults[i].Graphs += f.Graphs
			return
		}
	}
	s.pending.Faults = append(s.pending.Faults, f)
}
