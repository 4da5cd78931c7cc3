package traffic

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"pare/plugin"
	"pare/plugin/journal"
)

// Name is the file in a model's profile folder.
const Name = "live.bin"

var form = journal.Form[Chunk]{Name: Name, Magic: "PARELIV1", What: "live profile", Valid: valid}

func valid(c *Chunk) error {
	if c.Label != "" {
		if err := CheckLabel(c.Label); err != nil {
			return err
		}
	}
	if c.Requests < 0 || c.Prompt < 0 || c.Generated < 0 || c.Skipped < 0 {
		return errors.New("traffic of less than no requests or tokens")
	}
	if c.Delta.Layers == 0 {
		return nil
	}
	if !c.Delta.Finite() {
		return errors.New("traffic with sums that are no numbers")
	}
	return c.Delta.Validate()
}

// Read reads the traffic in a file, label by label. It can be read while another
// adds to it.
func Read(path string) (map[string][]Chunk, error) {
	f := form
	f.Name = filepath.Base(path)
	j, err := f.Read(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return gather(j.All)
}

func gather(entries []journal.Entry[Chunk]) (map[string][]Chunk, error) {
	rows := map[string][]Chunk{}
	for _, e := range entries {
		if err := take(rows, e.Value); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// take adds a chunk to its label's row.
func take(rows map[string][]Chunk, c Chunk) error {
	row := rows[c.Label]
	if n := len(row); n > 0 && row[n-1].Measured() < chunkTokens {
		if err := row[n-1].add(c); err != nil {
			return fmt.Errorf("keep the live profile: %w", err)
		}
		return nil
	}
	rows[c.Label] = append(row, c.clone()) // what was given stays the giver's
	most := mostChunks(c.Delta.Layers, len(rows))
	for label, row := range rows {
		for len(row) > most {
			row = shorten(row)
		}
		rows[label] = row
	}
	return nil
}

// mostChunks is how many chunks a label of a model may have.
func mostChunks(layers, labels int) int {
	size := 3 * 8 * (2*plugin.Pairs(layers) + 2*layers + 1)
	return min(max(maxBytes/size/labels, minChunks), maxChunks)
}

// shorten makes one chunk of the two neighbours that have the fewest tokens together.
func shorten(row []Chunk) []Chunk {
	at, fewest := 0, int64(math.MaxInt64)
	for i := range len(row) - 1 {
		if n := row[i].Measured() + row[i+1].Measured(); n < fewest {
			at, fewest = i, n
		}
	}
	if row[at].add(row[at+1]) != nil { // of another shape: no file holds both
		return slices.Delete(row, at, at+1)
	}
	return slices.Delete(row, at+1, at+2)
}

// Pick returns the chunks of a label, or of all of them for "".
func Pick(rows map[string][]Chunk, label string) []Chunk {
	if label != "" {
		return rows[label]
	}
	var all []Chunk
	for _, l := range slices.Sorted(maps.Keys(rows)) {
		all = append(all, rows[l]...)
	}
	return all
}

// A Store is the traffic of one model, for adding. It is for one caller at a time.
type Store struct {
	journal *journal.Journal[Chunk]
	rows    map[string][]Chunk
	packed  int64 // size of the file when it was last packed
}

// Open opens the traffic in a model's profile folder, or begins it.
func Open(folder string) (*Store, error) {
	j, err := form.Open(folder)
	if err != nil {
		return nil, err
	}
	s := &Store{journal: j}
	if s.rows, err = gather(j.All); err == nil {
		err = s.pack()
	}
	if err != nil {
		j.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.journal.Close() }

// Rows are the chunks of each label, the caller's own.
func (s *Store) Rows() map[string][]Chunk {
	rows := make(map[string][]Chunk, len(s.rows))
	for label, row := range s.rows {
		for _, c := range row {
			rows[label] = append(rows[label], c.clone())
		}
	}
	return rows
}

// Labels is how many of rows are of a label.
func Labels(rows map[string][]Chunk) int {
	n := len(rows)
	if _, ok := rows[""]; ok {
		n--
	}
	return n
}

// Add adds what was measured; when it returns it is on disk, or an error says that it is
// not. Sums that are no numbers are left out and counted as a fault. What has a label beyond [MaxLabels]
// is kept without one.
func (s *Store) Add(c Chunk) error {
	if c.empty() {
		return nil
	}
	if _, known := s.rows[c.Label]; !known && c.Label != "" && Labels(s.rows) >= MaxLabels {
		c.Label = ""
	}
	if !c.Delta.Finite() {
		c.Delta = faulty(plugin.NotFinite)
	} else if !s.fits(c.Delta) {
		c.Delta = faulty("another number of layers was seen at work than before")
	}
	if err := s.journal.Add(c); err != nil {
		return err
	}
	s.journal.All = nil // the rows have it
	if err := take(s.rows, c); err != nil {
		return err
	}
	if size, err := s.journal.Size(); err == nil && size > 2*s.packed+4<<20 {
		// What was added is on disk: if there is no room to pack it, there may be at the
		// next one.
		_ = s.pack()
	}
	return nil
}

func faulty(reason string) plugin.TraceDelta {
	return plugin.TraceDelta{Faults: []plugin.Fault{{Reason: reason, Graphs: 1}}}
}

// fits reports whether sums are of as many layers as those that are there.
func (s *Store) fits(d plugin.TraceDelta) bool {
	for _, row := range s.rows {
		for _, c := range row {
			if has := c.Delta; has.Layers != 0 {
				return d.Layers == 0 || d.Layers == has.Layers && d.Hidden == has.Hidden
			}
		}
	}
	return true
}

// Reset forgets the traffic of a label, or all of it for "".
func (s *Store) Reset(label string) error {
	return s.change(label, func([]Chunk) []Chunk { return nil })
}

// Decay multiplies the weight of what was measured so far by a factor in 0..1, for a
// label or, with "", for all: what comes then counts for more.
func (s *Store) Decay(label string, factor float64) error {
	if !(factor > 0 && factor < 1) {
		return plugin.Errorf(plugin.Invalid, "decay is %g; give a factor between 0 and 1, or reset to forget all", factor)
	}
	return s.change(label, func(row []Chunk) (kept []Chunk) {
		for _, c := range row {
			if c = c.decay(factor); !c.empty() {
				kept = append(kept, c)
			}
		}
		return kept
	})
}

func (s *Store) change(label string, how func([]Chunk) []Chunk) error {
	if _, ok := s.rows[label]; label != "" && !ok {
		return plugin.Errorf(plugin.NotFound, "no traffic was labelled %q", label)
	}
	before := maps.Clone(s.rows)
	for l, row := range before {
		if label != "" && l != label {
			continue
		}
		delete(s.rows, l)
		for _, c := range how(row) {
			if err := take(s.rows, c); err != nil {
				s.rows = before
				return err
			}
		}
	}
	if err := s.pack(); err != nil {
		s.rows = before
		return err
	}
	return nil
}

// pack writes the rows in the place of all that was added to get them.
func (s *Store) pack() error {
	if err := s.journal.Replace(Pick(s.rows, "")); err != nil {
		return err
	}
	s.journal.All = nil
	var err error
	s.packed, err = s.journal.Size()
	return err
}

// Snapshot writes chunks into a file of their own, whole or not at all.
func Snapshot(path string, chunks []Chunk) error {
	f := form
	f.Name = filepath.Base(path)
	return f.Write(filepath.Dir(path), chunks)
}
