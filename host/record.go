package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"pare/host/client"
	"pare/plugin"
)

// recordName is the file of a record in its job's folder.
const recordName = "job.json"

// A record is what is kept of a job, as job.json in its folder. With the work
// files beside it, and the same request, a job goes on after a crash.
type record struct {
	client.Job
	Updated   string           `json:"updated"`
	Digest    string           `json:"digest"`            // of the model's GGUF
	Adapter   string           `json:"adapter,omitempty"` // of a merge: digest of what is merged
	Corpus    plugin.Corpus    `json:"corpus"`            // the text, in the job's folder
	Add       bool             `json:"add,omitempty"`     // of a profile
	Selection plugin.Selection `json:"selection"`         // of a prune job
	Force     bool             `json:"force,omitempty"`
	Discard   bool             `json:"discard,omitempty"` // judge the result and do not register it
	Repair    plugin.Repair    `json:"repair"`
	Lessons   plugin.Corpus    `json:"lessons"`          // Repair.Data, in the job's folder
	Evaluate  plugin.Evaluate  `json:"evaluate"`         // its texts are in the job's folder
	Other     string           `json:"other,omitempty"`  // of an evaluation
	Bypass    []int            `json:"bypass,omitempty"` // likewise
	Sweep     *sweepPlan       `json:"sweep,omitempty"`
	Result    string           `json:"result,omitempty"` // digest of the new GGUF, once it is being registered
	Code      int              `json:"code,omitempty"`   // HTTP status of Error

	folder string
}

// A sweepPlan is what a sweep tries.
type sweepPlan struct {
	Rates     []float64 `json:"rates,omitempty"`
	Criteria  []string  `json:"criteria,omitempty"`
	Seeds     int       `json:"seeds,omitempty"`
	Protect   []int     `json:"protect,omitempty"`
	Tolerance float64   `json:"tolerance,omitempty"`
	EachLayer bool      `json:"each_layer,omitempty"`
}

// identify gives the record its ID: the digest of what is asked for, so that the
// same request finds the same job. texts are the digests of what came with it.
func (r *record) identify(texts []string) error {
	b, err := json.Marshal(struct {
		Kind, Model, Digest, Name, Other string
		Add, DryRun, Discard             bool
		Selection                        plugin.Selection
		Bypass                           []int
		Sweep                            *sweepPlan
		Level                            string
		Thresholds                       plugin.Thresholds
		Repair                           plugin.Repair
		Texts                            []string
		Adapter                          string `json:",omitempty"`
	}{r.Kind, r.Model, r.Digest, r.Name, r.Other, r.Add, r.DryRun, r.Discard, r.Selection, r.Bypass, r.Sweep, r.Evaluate.Level, r.Evaluate.Thresholds, r.Repair, texts, r.Adapter})
	if err != nil {
		return fmt.Errorf("identify job: %w", err)
	}
	sum := sha256.Sum256(b)
	r.ID = hex.EncodeToString(sum[:6])
	return nil
}

// made reports whether the record's job, cut short, had registered its model
// already, so that the name it finds taken is its own.
func (r *record) made() bool {
	if r == nil || r.Result == "" || r.State == client.Done {
		return false
	}
	s, err := find("name", r.Name)
	return err == nil && s.gguf.Digest == r.Result
}

// nameFree says whether the model that the job is to make of parent, if any, may have its
// name, given an earlier try.
func (r *record) nameFree(parent stored) func(before *record) error {
	return func(before *record) error {
		if r.Name == "" || before.made() {
			return nil
		}
		_, err := nameFree(r.Name, parent.name, r.Force)
		return err
	}
}

// forgetTexts deletes a user's texts, which are kept no longer than the job runs:
// whoever asks for the job again sends them again. What was measured of traffic stays
// until the job is done, for it goes on by the same.
func (r *record) forgetTexts() {
	for _, c := range append([]plugin.Corpus{r.Corpus, r.Lessons, r.Evaluate.Corpus}, r.Evaluate.Tasks...) {
		if c == r.Corpus && r.Corpus.Live && r.State != client.Done {
			continue
		}
		if c.Path != "" {
			os.Remove(c.Path)
		}
	}
}

// save writes the record, whole or not at all.
func (r *record) save() error {
	r.Updated = time.Now().UTC().Format(time.RFC3339)
	return r.write(recordName, r)
}

// write keeps v as JSON in the job's folder.
func (r *record) write(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s of job %s: %w", name, r.ID, err)
	}
	if err := renameio.WriteFile(filepath.Join(r.folder, name), b, 0o600, renameio.WithTempDir(r.folder)); err != nil {
		return noSpace(fmt.Errorf("save job: %w", err))
	}
	return nil
}

// report reads what the job left as its result.
func (r *record) report(into any) error {
	b, err := os.ReadFile(filepath.Join(r.folder, "report.json"))
	if err != nil {
		return fmt.Errorf("read the report of job %s: %w", r.ID, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read the report of job %s: %w", r.ID, err)
	}
	return nil
}

// loadRecord reads the record in a job's folder.
func loadRecord(folder string) (*record, error) {
	b, err := os.ReadFile(filepath.Join(folder, recordName))
	if err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	r := &record{folder: folder}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read job %s: %w", filepath.Base(folder), err)
	}
	return r, nil
}
