package live

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"pare/host/trace"
	"pare/plugin/traffic"
)

// A tag is what requests are told apart by.
type tag struct {
	label string
	own   bool // Pare's own request, which is no traffic
}

// A model is one that a runner was seen to run.
type model struct {
	tap                  *trace.Server
	digest, path, folder string
	log                  *slog.Logger

	// Held while the tap is asked for sums, or has to measure for another session: that
	// may wait for the graph that a runner computes.
	asking  sync.Mutex
	session *trace.Session // nil if it is not traced

	// Held for a moment.
	mu       sync.Mutex
	share    float64     // of the passes that are measured
	inFlight map[tag]int // requests
	pending  map[string]*traffic.Chunk

	storing sync.Mutex
	store   *traffic.Store // nil until it is needed
}

// watch measures a share of the model's passes from now on; 0 ends that.
func (m *model) watch(ctx context.Context, share float64) error {
	m.mu.Lock()
	same := m.share == share
	m.mu.Unlock()
	if same {
		return nil
	}
	m.asking.Lock()
	defer m.asking.Unlock()
	m.mu.Lock()
	who := m.who()
	m.mu.Unlock()
	if m.session != nil {
		m.session.Stop()
		m.drain(who)
		m.session = nil
		m.setShare(0)
	}
	if share == 0 {
		return nil
	}
	session, err := m.tap.Watch(ctx, m.path, share)
	if err != nil {
		return err
	}
	m.session = session
	m.setShare(share)
	return nil
}

func (m *model) setShare(share float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.share = share
}

// begin notes that a request begins. Sums of what ran before it are collected if it is
// of another kind; it would wait for the runner to be done with that anyway.
func (m *model) begin(t tag) {
	m.mu.Lock()
	changes, who := m.inFlight[t] == 0 && len(m.inFlight) > 0, m.who()
	m.mu.Unlock()
	if changes {
		m.collect(who)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inFlight[t]++
}

// end notes that a request ended, with the tokens its runner reported: none if it was
// given up. After the last one the sums are collected before Ollama goes on, for the
// runner may be unloaded next, and it is idle; while others run, nobody waits for them.
func (m *model) end(t tag, n counts) {
	m.mu.Lock()
	who := m.who()
	if m.inFlight[t]--; m.inFlight[t] == 0 {
		delete(m.inFlight, t)
	}
	changes, last := m.inFlight[t] == 0, len(m.inFlight) == 0
	if !t.own && m.share > 0 && n != (counts{}) {
		c := m.chunk(t.label)
		c.Requests++
		c.Prompt += n.prompt
		c.Generated += n.generated
	}
	m.mu.Unlock()
	if last {
		m.collect(who)
	} else if changes {
		go m.collect(who)
	}
}

// who is what all requests in flight have in common: of several labels none, and if one
// is Pare's own the whole is no traffic. m.mu must be held.
func (m *model) who() (who tag) {
	first := true
	for t := range m.inFlight {
		switch {
		case t.own:
			return t
		case first:
			who, first = t, false
		default:
			who = tag{}
		}
	}
	return who
}

// chunk is the pending one of a label, with the date brought up to now. m.mu must be
// held.
func (m *model) chunk(label string) *traffic.Chunk {
	now := time.Now().UTC().Truncate(time.Second)
	if m.pending[label] == nil && len(m.pending) >= traffic.MaxLabels {
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

// patience is how long a request may wait for the sums of what ran before. They are
// not lost if it is longer: they come with the next.
const patience = 2 * time.Second

// collect takes what the tap measured for whoever was in flight.
func (m *model) collect(who tag) {
	m.asking.Lock()
	defer m.asking.Unlock()
	m.drain(who)
}

// drain is collect while m.asking is held.
func (m *model) drain(who tag) {
	if m.session == nil {
		return
	}
	// Cancelled, not timed out: a runner that is late is not disconnected.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer time.AfterFunc(patience, cancel).Stop()
	d, err := m.session.Drain(ctx)
	if err != nil {
		m.log.Debug("live trace", "model", m.digest, "error", err)
	}
	if who.own || d.Layers == 0 && d.Skipped == 0 && d.LeftOut == 0 && len(d.Faults) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.chunk(who.label)
	c.Skipped += d.Skipped
	if err := c.Delta.Add(d.TraceDelta); err != nil {
		m.log.Warn("live trace: sums are lost", "model", m.digest, "error", err)
	}
}

// flush writes what was measured to disk.
func (m *model) flush() error {
	m.mu.Lock()
	busy, who, pending := len(m.inFlight) > 0, m.who(), len(m.pending) > 0
	m.mu.Unlock()
	if busy {
		m.collect(who)
	} else if !pending {
		return nil
	}
	return m.stored(func(*traffic.Store) error { return nil })
}

// restore puts back what could not be written.
func (m *model) restore(pending map[string]*traffic.Chunk) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for label, c := range pending {
		if later := m.pending[label]; later != nil {
			both, err := traffic.Sum([]traffic.Chunk{*c, *later})
			if err != nil {
				continue
			}
			both.Label = label
			c = &both
		}
		m.pending[label] = c
	}
}

// stored writes what was measured to the model's store, which it opens the first time,
// and calls do with it.
func (m *model) stored(do func(*traffic.Store) error) error {
	m.storing.Lock()
	defer m.storing.Unlock()
	if m.store == nil {
		s, err := traffic.Open(m.folder)
		if err != nil {
			return err
		}
		m.store = s
	}
	m.mu.Lock()
	pending := m.pending
	m.pending = map[string]*traffic.Chunk{}
	m.mu.Unlock()
	for label, c := range pending {
		if err := m.store.Add(*c); err != nil {
			m.restore(pending)
			return err
		}
		delete(pending, label)
	}
	return do(m.store)
}

// rows is what is stored of the model, by label. Nothing is made where nothing was
// measured.
func (m *model) rows() (map[string][]traffic.Chunk, error) {
	m.storing.Lock()
	defer m.storing.Unlock()
	if m.store == nil {
		return traffic.Read(filepath.Join(m.folder, traffic.Name))
	}
	return m.store.Rows(), nil
}

func (m *model) close() {
	m.storing.Lock()
	defer m.storing.Unlock()
	if m.store != nil {
		m.store.Close()
		m.store = nil
	}
}
