package host

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/ollama/ollama/manifest"

	"pare/host/client"
	"pare/plugin"
	"pare/plugin/traffic"
)

// maxCorpus bounds a user's text, in bytes: hours of tracing on any machine.
const maxCorpus = 64 << 20

// ownCorpus is the name by which a request asks for the plugin's own text.
const ownCorpus = "default"

// texts are what comes with a request: the text of a corpus, text to score or to
// learn from, questions. They are put into the job's folder.
type texts struct {
	files   []textFile
	digests []string // of all of them, in an order that does not change
}

// A textFile is one of them, and where its name and path are noted once it is
// written.
type textFile struct {
	name, file string // what the user calls it, and the file in the job's folder
	data       []byte
	live       func() ([]traffic.Chunk, error) // instead of data
	into       *plugin.Corpus
}

// take adds what a field of a request holds; into is where the record keeps it.
func (t *texts) take(field, file string, c *client.Corpus, into *plugin.Corpus) error {
	data, digest, err := corpusText(field, c)
	if err != nil {
		return err
	}
	t.digests = append(t.digests, digest)
	switch {
	case c == nil:
	case data == nil:
		*into = plugin.Corpus{Name: ownCorpus}
	default:
		t.files = append(t.files, textFile{name: c.Name, file: file, data: data, into: into})
	}
	return nil
}

// takeChoosing adds the corpus that layers of a model are chosen by. Traffic is taken
// as it is when the job starts, once: what comes while it runs, or until it is resumed,
// changes nothing.
func (t *texts) takeChoosing(js *jobs, s stored, c *client.Corpus, into *plugin.Corpus) error {
	label, live := c.Traffic()
	if !live {
		return t.take("corpus", "corpus", c, into)
	}
	t.digests = append(t.digests, c.Name)
	t.files = append(t.files, textFile{name: c.Name, file: "live", into: into,
		live: func() ([]traffic.Chunk, error) { return js.trafficOf(s, label) }})
	return nil
}

// trafficOf is what was measured of a model's requests with a label, or of all for "".
func (js *jobs) trafficOf(s stored, label string) ([]traffic.Chunk, error) {
	if label != "" {
		if err := traffic.CheckLabel(label); err != nil {
			return nil, err
		}
	}
	rows, err := js.live.Traffic(s.gguf.Digest, s.path)
	if err != nil {
		return nil, err
	}
	chunks, name := traffic.Pick(rows, label), s.name.DisplayShortest()
	if len(traffic.Deltas(s.gguf.Digest, chunks)) == 0 {
		if label != "" && len(rows) > 0 {
			return nil, plugin.Errorf(plugin.NotFound, "no traffic of %s labelled %q was measured; it has %s", name, label, strings.Join(labelsOf(rows), ", "))
		}
		if js.live.Share(s.gguf.Digest) > 0 {
			return nil, plugin.Errorf(plugin.NotFound, "no traffic of %s was measured yet: use the model, and ask again (`pare trace %s` shows what there is)", name, name)
		}
		return nil, plugin.Errorf(plugin.NotFound, "no traffic of %s was measured: `pare trace %s --sample 10%%` begins to; then use the model, and ask again", name, name)
	}
	return chunks, nil
}

// lendTraffic writes what was measured of a model's requests to a file for one call of
// the plugin; the caller calls done after it. Without a corpus there is none.
func (js *jobs) lendTraffic(s stored, c *client.Corpus) (of plugin.Corpus, done func(), err error) {
	if c == nil {
		return plugin.Corpus{}, func() {}, nil
	}
	label, live := c.Traffic()
	if !live {
		return of, nil, plugin.Errorf(plugin.Invalid, "corpus %q: an answer at once is by the kept profile (give no corpus) or by traffic (live, live:LABEL); for a text ask for a job, or keep its profile first", c.Name)
	}
	chunks, err := js.trafficOf(s, label)
	if err != nil {
		return of, nil, err
	}
	path := filepath.Join(js.folder, ".live-"+rand.Text()) // deleted at the next start if not before
	if err := traffic.Snapshot(path, chunks); err != nil {
		return of, nil, noSpace(fmt.Errorf("keep the traffic for the plan: %w", err))
	}
	return plugin.Corpus{Name: c.Name, Path: path, Live: true}, func() { os.Remove(path) }, nil
}

func labelsOf(rows map[string][]traffic.Chunk) []string {
	labels := slices.Sorted(maps.Keys(rows))
	for i, l := range labels {
		if l == "" {
			labels[i] = "requests without a label"
		}
	}
	return labels
}

// takeEvaluate adds what an evaluation needs and fills in how it is made.
func (t *texts) takeEvaluate(e *client.Evaluate, into *plugin.Evaluate) error {
	if e == nil {
		e = &client.Evaluate{}
	}
	into.Level = cmp.Or(e.Level, plugin.LevelQuick) // the same to a job's ID
	if e.Thresholds != nil {
		into.Thresholds = *e.Thresholds
	}
	into.Tasks = make([]plugin.Corpus, len(e.Tasks))
	for i := range e.Tasks {
		if e.Tasks[i] == (client.Corpus{Name: ownCorpus}) {
			return plugin.Errorf(plugin.Invalid, "tasks %d: leave tasks out to ask Pare's own questions", i+1)
		}
		if err := t.take(fmt.Sprintf("tasks %d", i+1), fmt.Sprintf("tasks-%d", i), &e.Tasks[i], &into.Tasks[i]); err != nil {
			return err
		}
	}
	if e.Corpus != nil && *e.Corpus == (client.Corpus{Name: ownCorpus}) {
		e.Corpus = nil
	}
	return t.take("text to score", "scored", e.Corpus, &into.Corpus)
}

// takeRepair checks how a job repairs, adds what it learns from and notes both in
// the record. A dry run repairs nothing.
func (t *texts) takeRepair(r *client.Repair, rec *record) error {
	settings, err := r.Settings()
	if err != nil {
		return err
	}
	if rec.DryRun {
		rec.Repair.Method = plugin.RepairNone
		return nil
	}
	rec.Repair = settings
	if r == nil || r.Data == nil || *r.Data == (client.Corpus{Name: plugin.DataSelf}) {
		return nil
	}
	const field = "repair: data"
	if *r.Data == (client.Corpus{Name: ownCorpus}) {
		return plugin.Errorf(plugin.Invalid, "%s: give text, or leave it out to learn from answers that the uncut model writes", field)
	}
	return t.take(field, "lessons", r.Data, &rec.Lessons)
}

// write puts the texts into a folder.
func (t *texts) write(folder string) error {
	for _, f := range t.files {
		*f.into = plugin.Corpus{Name: f.name, Path: filepath.Join(folder, f.file), Live: f.live != nil}
		if f.live != nil {
			if err := writeLive(f.into.Path, f.live); err != nil {
				return err
			}
			continue
		}
		if err := renameio.WriteFile(f.into.Path, f.data, 0o600, renameio.WithTempDir(folder)); err != nil {
			return noSpace(fmt.Errorf("keep the text for the job: %w", err))
		}
	}
	return nil
}

// writeLive keeps traffic for a job, unless an earlier try of it has done so.
func writeLive(path string, measured func() ([]traffic.Chunk, error)) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	chunks, err := measured()
	if err != nil {
		return err
	}
	if err := traffic.Snapshot(path, chunks); err != nil {
		return noSpace(fmt.Errorf("keep the traffic for the job: %w", err))
	}
	return nil
}

// corpusText returns a request's text and what tells it from others in a job's
// ID. Without a corpus both are empty; the plugin's own has no text here. What is
// in a text is for the plugin to judge.
func corpusText(field string, c *client.Corpus) ([]byte, string, error) {
	if c == nil {
		return nil, "", nil
	}
	if *c == (client.Corpus{Name: ownCorpus}) {
		return nil, ownCorpus, nil
	}
	text := []byte(c.Text)
	if c.Digest != "" {
		if c.Text != "" {
			return nil, "", plugin.Errorf(plugin.Invalid, "%s: give text or the digest of an uploaded blob, not both", field)
		}
		var err error
		if text, err = uploaded(field, c.Digest); err != nil {
			return nil, "", err
		}
	}
	if len(text) > maxCorpus {
		return nil, "", tooLong(field, int64(len(text)))
	}
	if len(text) == 0 {
		return nil, "", plugin.Errorf(plugin.Invalid, "%s: it is empty; give some text, or leave it out", field)
	}
	sum := sha256.Sum256(append([]byte(c.Name+"\x00"), text...))
	return text, hex.EncodeToString(sum[:]), nil
}

func uploaded(field, digest string) ([]byte, error) {
	path, err := manifest.BlobsPath(digest)
	if err != nil {
		return nil, plugin.Errorf(plugin.Invalid, "%s: %q is not a digest; it looks like sha256:<64 hex digits>", field, digest)
	}
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, plugin.Errorf(plugin.NotFound, "%s: no blob %s; upload it with POST /api/blobs/%s", field, digest, digest)
	}
	if err != nil {
		return nil, fmt.Errorf("read the corpus: %w", err)
	}
	if fi.Size() > maxCorpus {
		return nil, tooLong(field, fi.Size())
	}
	return os.ReadFile(path)
}

func tooLong(field string, size int64) error {
	return plugin.Errorf(plugin.Invalid, "%s: %d MB is more than the %d MB that are allowed; a few hundred KB tell as much", field, size>>20, maxCorpus>>20)
}
