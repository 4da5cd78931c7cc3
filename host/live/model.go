package live

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"pare/host/trace"
	"pare/plugin/traffic"
)

// A tag is what requests are told apart by.
type tag struct {
	label string
	own   bool // no traffic of the model: a request of Pare itself, or to the model with an adapter
}

// A model is one that a runner was seen to run.
type model struct {
	tap                  *trace.Server
	digest, path, folder string
	wanted               func() float64 // share of the passes to measure; 0 ends the watch
	log                  *slog.Logger

	// Holds one token. Whoever has it may ask the tap for sums, or have it measure for
	// another session: that may wait for the graph that a runner computes.
	asking  chan struct{}
	session *trace.Session // nil if it is not traced
	blind   int64          // passes of the session that could not be measured; -1 once one could
	fault   string         // why not, of the last of them

	// Held for a moment.
	mu       sync.Mutex
	share    float64      // of the passes that are measured
	inFlight map[tag]int  // requests
	owners   map[tag]bool // of sums that were not collected yet
	givenUp  map[tag]bool // no longer in flight, but sums to come may be of them too
	draining bool         // the tap is being asked for sums
	lost     string       // why it is not traced though it should be
	pending  map[string]*traffic.Chunk

	storing sync.Mutex
	store   *traffic.Store // nil until it is needed
	used    time.Time      // store, the last time
}

func newModel(tap *trace.Server, digest, path, folder string, wanted func() float64, log *slog.Logger) *model {
	m := &model{
		tap: tap, digest: digest, path: path, folder: folder, wanted: wanted, log: log, asking: make(chan struct{}, 1),
		inFlight: map[tag]int{}, owners: map[tag]bool{}, givenUp: map[tag]bool{}, pending: map[string]*traffic.Chunk{},
	}
	m.asking <- struct{}{}
	return m
}

// patience is how long a request may wait for the sums of what ran before. They are
// not lost if it is longer: they come with the next.
const patience = 2 * time.Second

// patient is a context that ends when patience does. It is cancelled then and does not
// time out: a runner that is late is not disconnected.
func patient(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	timer := time.AfterFunc(patience, cancel)
	return ctx, func() { timer.Stop(); cancel() }
}

// turn waits for the token of m.asking; the caller calls done in the end.
func (m *model) turn(ctx context.Context) (done func(), err error) {
	select {
	case <-m.asking:
		return func() { m.asking <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// watch measures the wanted share of the model's passes from now on.
func (m *model) watch(ctx context.Context) error {
	done, err := m.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	share := m.wanted()
	m.mu.Lock()
	same := m.share == share
	m.lost = ""
	m.mu.Unlock()
	if same {
		return nil
	}
	m.unwatch()
	if share == 0 {
		return nil
	}
	session, err := m.tap.Watch(ctx, m.path, share)
	if err != nil {
		return err
	}
	m.session, m.blind = session, 0
	m.setShare(share)
	return nil
}

// stop ends the watch for good.
func (m *model) stop() {
	ctx, cancel := patient(context.Background())
	defer cancel()
	done, err := m.turn(ctx)
	if err != nil {
		m.log.Warn("live trace: the last sums are lost", "model", m.digest, "error", err)
		return
	}
	defer done()
	m.unwatch()
}

// unwatch ends the session, if there is one. The caller has the token.
func (m *model) unwatch() {
	if m.session == nil {
		return
	}
	m.session.Stop()
	ctx, cancel := patient(context.Background())
	defer cancel()
	m.drain(ctx) // what Stop was given
	m.session = nil
	m.setShare(0)
}

func (m *model) setShare(share float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.share = share
}

func (m *model) setDraining(draining bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.draining = draining
}

// begin notes that a request begins. If it is the first of its kind, sums of others
// that ran before it are collected; it would wait for the runner to be done with those
// anyway.
func (m *model) begin(ctx context.Context, t tag) {
	m.mu.Lock()
	others := len(m.owners)
	if m.owners[t] {
		others--
	}
	changes := m.inFlight[t] == 0 && others > 0
	m.mu.Unlock()
	if changes {
		m.collect(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inFlight[t]++
	m.owners[t] = true
}

// end notes that a request ended, with the tokens its runner reported: none if it was
// given up, which makes it no less a request. After the last one the sums are collected before Ollama goes on, for the
// runner may be unloaded next, and it is idle; while others run, nobody waits for them.
func (m *model) end(t tag, n counts) {
	m.mu.Lock()
	if m.inFlight[t]--; m.inFlight[t] == 0 {
		delete(m.inFlight, t)
	}
	changes, last := m.inFlight[t] == 0, len(m.inFlight) == 0
	if n == (counts{}) || m.draining {
		m.givenUp[t] = true
	}
	if !t.own && m.share > 0 {
		c := m.chunk(t.label)
		c.Requests++
		c.Prompt += n.prompt
		c.Generated += n.generated
	}
	m.mu.Unlock()
	if last {
		m.collect(context.Background())
	} else if changes {
		go m.collect(context.Background())
	}
}

// owner is what all that sums may be of have in common: of several labels none, and if
// one is Pare's own the whole is no traffic. m.mu must be held.
func (m *model) owner() (owner tag) {
	first := true
	for t := range m.owners {
		switch {
		case t.own:
			return t
		case first:
			owner, first = t, false
		default:
			owner = tag{}
		}
	}
	return owner
}

// collected notes that the sums of all that ran were collected. m.mu must be held.
func (m *model) collected() {
	clear(m.owners)
	for t := range m.inFlight {
		m.owners[t] = true
	}
	maps.Copy(m.owners, m.givenUp)
	clear(m.givenUp)
}

// mostPending labels are told apart until they are stored: those that may be kept, and
// as many that come between.
const mostPending = 2 * traffic.MaxLabels

// chunk is the pending one of a label, with the date brought up to now. m.mu must be
// held.
func (m *model) chunk(label string) *traffic.Chunk {
	now := time.Now().UTC()
	if m.pending[label] == nil && len(m.pending) >= mostPending {
		label = ""
	}
	c := m.pending[label]
	if c == nil {
		c = &traffic.Chunk{Label: label, From: now}
		m.pending[label] = c
	}
	c.To = now
	return c
}

// collect takes what the tap measured for whoever was in flight since the last time.
func (m *model) collect(ctx context.Context) {
	ctx, cancel := patient(ctx)
	defer cancel()
	done, err := m.turn(ctx)
	if err != nil {
		return
	}
	defer done()
	m.drain(ctx)
	if m.session != nil && m.blind >= maxBlind {
		m.unwatch()
		m.mu.Lock()
		m.lost = "none of its passes could be followed (" + m.fault + "); until it is loaded anew it is not traced"
		m.mu.Unlock()
		m.log.Warn("live trace: the model is left alone", "model", m.digest, "why", m.lost)
	}
}

// maxBlind is how many passes that cannot be followed it takes to end a watch: each
// costs the runner a little, and the reason is known by then.
const maxBlind = 50

// drain is collect for who has the token.
func (m *model) drain(ctx context.Context) {
	m.setDraining(true)
	defer m.setDraining(false)
	var d trace.Drained
	if m.session != nil {
		var err error
		if d, err = m.session.Drain(ctx); err != nil {
			m.log.Debug("live trace: sums come later", "model", m.digest, "error", err)
			return
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	owner := m.owner()
	m.collected()
	if d.All.Tokens > 0 {
		m.blind = -1
	}
	for _, f := range d.Faults {
		if m.blind >= 0 {
			m.blind += f.Graphs
		}
		m.fault = f.Reason
	}
	if owner.own || d.Layers == 0 && d.Skipped == 0 && d.LeftOut == 0 && len(d.Faults) == 0 {
		return
	}
	c := m.chunk(owner.label)
	c.Skipped += d.Skipped
	if err := c.Delta.Add(d.TraceDelta); err != nil {
		m.log.Warn("live trace: sums are lost", "model", m.digest, "error", err)
	}
}
