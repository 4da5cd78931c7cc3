// Package live measures models while they answer their users.
//
// A [Tracer] has the tap watch the runners of the models that are traced, and stands
// between Ollama and its runners ([Tracer.Transport]): there it sees requests come and
// go, counts their tokens, and collects the sums when the last one of a model ends,
// before the runner may be unloaded. What it collects is on disk within seconds, in the
// model's profile folder, by the label that the requests bore; see package traffic.
package live

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"pare/host/trace"
	"pare/plugin"
	"pare/plugin/traffic"
)

// DefaultShare of the forward passes is measured where nothing else is said.
const DefaultShare = 0.1

// flushEvery is how often what was measured goes to disk: a crash costs no more.
const flushEvery = 3 * time.Second

// Config is what a Tracer is made from.
type Config struct {
	Tap      *trace.Server
	Folder   func(digest string) string // of a model's profile
	Settings string                     // file in which it is kept which models are traced
	Share    float64                    // of the passes of models of which nothing was set; 0 traces none
	Log      *slog.Logger
}

// A Tracer traces the models that a server runs.
type Tracer struct {
	config Config
	own    string // value of ownHeader
	stop   func() // flushing
	done   chan struct{}

	saving sync.Mutex // settings

	mu       sync.Mutex
	settings settings
	models   map[string]*model // by digest
	runners  map[int]*model    // by port; the last to have it
	adapted  map[int]bool      // ports of runners with an adapter, which is another model
}

// New starts tracing the models for which that is set. Call [Tracer.Close] in the end.
func New(c Config) (*Tracer, error) {
	stop := make(chan struct{})
	t := &Tracer{
		config: c, own: rand.Text(), stop: sync.OnceFunc(func() { close(stop) }), done: make(chan struct{}),
		models: map[string]*model{}, runners: map[int]*model{}, adapted: map[int]bool{},
	}
	var err error
	if t.settings, err = readSettings(c.Settings); err != nil {
		return nil, err
	}
	c.Tap.OnArrival(t.arrive)
	go t.flushing(stop)
	return t, nil
}

// Close writes what was measured. It can be called twice.
func (t *Tracer) Close() {
	t.stop()
	<-t.done
	for _, m := range t.all() {
		m.stop()
		if err := m.flush(); err != nil {
			t.config.Log.Error("the last of the live profile is lost", "model", m.digest, "error", err)
		}
		m.close()
	}
}

// arrive has a new runner watched from its first token, if its model is traced.
func (t *Tracer) arrive(r trace.Runner) {
	digest, ok := digestOf(r.Model)
	if !ok {
		return
	}
	m := t.model(digest, r.Model)
	t.mu.Lock()
	t.runners[r.Port] = m
	t.mu.Unlock()
	ctx, cancel := patient(context.Background())
	defer cancel()
	if err := m.watch(ctx); err != nil {
		t.config.Log.Warn("the model will not be traced", "model", digest, "error", err)
	}
}

// digestOf is the digest of a blob of the store, by its path.
func digestOf(path string) (string, bool) {
	hex, ok := strings.CutPrefix(filepath.Base(path), "sha256-")
	return "sha256:" + hex, ok
}

// share is that of a model's passes to be measured. t.mu must be held.
func (t *Tracer) share(digest string) float64 {
	if s, ok := t.settings.Share[digest]; ok {
		return s
	}
	return t.config.Share
}

// model returns what is known of a model; a path is needed the first time.
func (t *Tracer) model(digest, path string) *model {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.models[digest]
	if m == nil {
		m = newModel(t.config.Tap, digest, path, t.config.Folder(digest), func() float64 { return t.Share(digest) }, t.config.Log)
		t.models[digest] = m
	}
	return m
}

func (t *Tracer) all() []*model {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ms []*model
	for _, m := range t.models {
		ms = append(ms, m)
	}
	return ms
}

// byPort is the model that the runner on a port runs, and whether with an adapter.
func (t *Tracer) byPort(port int) (m *model, adapted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.runners[port], t.adapted[port]
}

func (t *Tracer) setAdapted(port int, adapted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.adapted[port] = adapted
}

func (t *Tracer) flushing(stop <-chan struct{}) {
	defer close(t.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, m := range t.all() {
				if err := m.flush(); err != nil {
					t.config.Log.Warn("the live profile could not be kept; it is tried again", "model", m.digest, "error", err)
				}
			}
		case <-stop:
			return
		}
	}
}

// Share is that of a model's passes that is measured, 0 if it is not traced.
func (t *Tracer) Share(digest string) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.share(digest)
}

// Lost tells why a model is not traced though it should be, or "".
func (t *Tracer) Lost(digest string) string {
	t.mu.Lock()
	m := t.models[digest]
	t.mu.Unlock()
	if m == nil {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

// CheckShare refuses what is no share.
func CheckShare(share float64) error {
	if !(share >= 0 && share <= 1) {
		return plugin.Errorf(plugin.Invalid, "sample is %g; give a number from 0, which ends tracing, to 1", share)
	}
	return nil
}

// SetShare has a model traced from now on, over restarts of the server too, or no
// longer, with a share of 0.
func (t *Tracer) SetShare(ctx context.Context, digest, path string, share float64) error {
	if err := CheckShare(share); err != nil {
		return err
	}
	if err := t.keepShare(digest, share); err != nil {
		return err
	}
	// Not by the caller's context: whoever gives up leaves no other state than is kept.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return t.model(digest, path).watch(ctx)
}

func (t *Tracer) keepShare(digest string, share float64) error {
	t.saving.Lock()
	defer t.saving.Unlock()
	t.mu.Lock()
	next := t.settings.with(digest, share)
	t.mu.Unlock()
	if err := next.write(t.config.Settings); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settings = next
	return nil
}

// Traffic is what was measured of a model up to now, by label.
func (t *Tracer) Traffic(digest, path string) (map[string][]traffic.Chunk, error) {
	m := t.model(digest, path)
	if err := m.flush(); err != nil {
		return nil, err
	}
	return m.rows()
}

// Change resets or decays what was measured of a model.
func (t *Tracer) Change(digest, path string, how func(*traffic.Store) error) error {
	return t.model(digest, path).stored(how)
}

// Known are the digests of the models that are traced, or were.
func (t *Tracer) Known() []string {
	known := map[string]bool{} // whether it is traced now
	t.mu.Lock()
	for digest := range t.settings.Share {
		known[digest] = t.share(digest) > 0
	}
	for digest := range t.models {
		known[digest] = t.share(digest) > 0
	}
	t.mu.Unlock()
	files, _ := filepath.Glob(filepath.Join(t.config.Folder("*"), traffic.Name))
	for _, f := range files {
		if digest, ok := digestOf(filepath.Dir(f)); ok && !known[digest] {
			known[digest] = false
		}
	}
	var all []string
	for digest, traced := range known {
		if _, err := os.Stat(filepath.Join(t.config.Folder(digest), traffic.Name)); err == nil || traced {
			all = append(all, digest)
		}
	}
	return all
}
