package live

import (
	"cmp"
	"context"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"pare/plugin/traffic"
)

// flush writes what was measured to disk. A store that was not used for a while is
// closed.
func (m *model) flush() error {
	m.mu.Lock()
	uncollected := len(m.owners) > 0
	m.mu.Unlock()
	if uncollected {
		m.collect(context.Background())
	}
	m.mu.Lock()
	pending := len(m.pending) > 0
	m.mu.Unlock()
	if !pending {
		m.rest()
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
	m.used = time.Now()
	m.mu.Lock()
	pending := m.pending
	m.pending = map[string]*traffic.Chunk{}
	m.mu.Unlock()
	for _, label := range earliest(pending) { // of more labels than are kept the first to come are
		c := *pending[label]
		c.From, c.To = c.From.Truncate(time.Second), c.To.Truncate(time.Second)
		if err := m.store.Add(c); err != nil {
			m.restore(pending)
			return err
		}
		delete(pending, label)
	}
	return do(m.store)
}

// earliest are the labels of chunks in the order in which they began.
func earliest(chunks map[string]*traffic.Chunk) []string {
	return slices.SortedFunc(maps.Keys(chunks), func(a, b string) int {
		return cmp.Or(chunks[a].From.Compare(chunks[b].From), cmp.Compare(a, b))
	})
}

// rows is what is stored of the model, by label. Nothing is made where nothing was
// measured.
func (m *model) rows() (map[string][]traffic.Chunk, error) {
	m.storing.Lock()
	defer m.storing.Unlock()
	if m.store == nil {
		return traffic.Read(filepath.Join(m.folder, traffic.Name))
	}
	m.used = time.Now()
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

// rest closes a store that was not used for a while.
func (m *model) rest() {
	m.storing.Lock()
	idle := m.store != nil && time.Since(m.used) > restAfter
	m.storing.Unlock()
	if idle {
		m.close()
	}
}

const restAfter = time.Minute
