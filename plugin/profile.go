package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ProfileVersion is the version of profiles and plans; others are not read.
const ProfileVersion = 1

// A Profile is what is known about a model's layers: statistics of its residual
// stream over a corpus. Distances are angular, arccos(cos)/pi, on the scale
// 0..1. It is kept as profile.json in the folder of its model.
type Profile struct {
	Version      int          `json:"version"`
	Model        string       `json:"model"` // digest of the GGUF
	Architecture string       `json:"architecture"`
	Layers       int          `json:"layers"` // L
	Hidden       int          `json:"hidden"` // H
	Corpora      []CorpusInfo `json:"corpora"`
	Chunks       int          `json:"chunks"` // units of the bootstrap
	Tokens       int64        `json:"tokens"` // in All: without the first of each sequence
	Expected     int64        `json:"expected_tokens"`
	All          Means        `json:"all_tokens"`
	Last         Means        `json:"last_tokens"`
	First        Means        `json:"first_tokens"`
	Faults       []Fault      `json:"faults,omitempty"`
	Trace        string       `json:"trace"` // digest of the frames it was made from
}

// CorpusInfo records a text that a profile covers, or the traffic: its documents are
// requests then, and From and To say of when.
type CorpusInfo struct {
	Name      string     `json:"name"`
	Digest    string     `json:"digest"`
	Documents int        `json:"documents"`
	Texts     []string   `json:"texts"` // digests of the pieces that were traced
	From      *time.Time `json:"from,omitempty"`
	To        *time.Time `json:"to,omitempty"`
}

// Means are averages over one kind of token.
type Means struct {
	Tokens    int64       `json:"tokens"`
	OutTokens int64       `json:"output_tokens"`
	Distance  [][]float64 `json:"distance"`  // D[a][b] = mean d(x_a, x_b); (L+1)x(L+1), symmetric
	Influence []float64   `json:"influence"` // block influence 1 - mean cos(x_l, x_{l+1}), len L (ShortGPT)
	Step      []float64   `json:"step"`      // residual contribution, mean |x_{l+1}-x_l| / |x_l|, len L
	Norm      []float64   `json:"norm"`      // mean |x_l|, len L+1
}

// A Plan says which layers go, why, and what else was considered.
type Plan struct {
	Version      int          `json:"version"`
	Model        string       `json:"model"`
	Profile      string       `json:"profile"` // digest of the trace behind it
	Criterion    string       `json:"criterion"`
	TokensUsed   string       `json:"tokens_used"` // "all" or "last"
	Tokens       int64        `json:"tokens"`
	Chunks       int          `json:"chunks"`
	Layers       int          `json:"layers"`          // of the model, L
	Remove       []int        `json:"remove"`          // 0-based
	Named        bool         `json:"named,omitempty"` // by the request, so that Criterion only says what Chosen.Score is
	Chosen       Candidate    `json:"chosen"`
	Alternatives []Candidate  `json:"alternatives,omitempty"` // best first, without the chosen
	Text         []CorpusInfo `json:"text,omitempty"`         // what was run to compare losses
	Notes        []string     `json:"notes,omitempty"`        // what a person should know before trusting it
}

// A Candidate is a set of layers that could go. Lower scores are better; Low
// and High bound the 95% bootstrap interval over chunks of text, and Wins is the
// share of resamplings in which it was the best of all.
//
// By a criterion that runs the model (auto, loss, greedy) the score is the rise of
// the mean log-loss over the whole model's, nats a token, paired by chunk; exp of it
// is the ratio of the perplexities. Low and High are its 95% interval by Student's
// t, both the score itself where one chunk was run. A set that was given up early
// has wide ones, and Wins is 0 for it.
type Candidate struct {
	Remove []int   `json:"remove"`
	Score  float64 `json:"score"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Wins   float64 `json:"wins"`
}

// Drawn tells whether there is an interval: of one chunk there are no resamplings, and
// Wins says nothing either.
func (c Candidate) Drawn() bool { return c.High > c.Low }

// A Report tells what a job did.
type Report struct {
	Version    int       `json:"version"`
	Job        string    `json:"job"`
	Parent     ModelInfo `json:"parent"`
	Result     ModelInfo `json:"result"` // empty after a dry run
	Plan       Plan      `json:"plan"`
	DryRun     bool      `json:"dry_run,omitempty"`
	PluginName string    `json:"plugin"`

	Repair     *Repaired   `json:"repair,omitempty"`     // nil if none was done
	Unrepaired string      `json:"unrepaired,omitempty"` // why the default repair was not possible
	Evaluation *Evaluation `json:"evaluation,omitempty"` // nil if none was asked for, or none was possible
	Unmeasured string      `json:"unmeasured,omitempty"` // why none was possible
}

// ModelInfo is one side of the before and after.
type ModelInfo struct {
	Name       string `json:"name"`
	Digest     string `json:"digest"`
	Layers     int    `json:"layers"`
	Bytes      int64  `json:"bytes"`
	Parameters uint64 `json:"parameters"`
}

// ProfileFolder is the folder of a model's profile below the one where profiles
// are kept. In it are profile.json and the frames it was made from.
func ProfileFolder(folder, digest string) string {
	return filepath.Join(folder, strings.ReplaceAll(digest, ":", "-"))
}

// ErrNoProfile says that a model was never traced, or by another version of Pare.
var ErrNoProfile = errors.New("no profile is kept for this model")

// LoadProfile reads a kept profile. One of another version, or of another model,
// counts as none: what it was made from is still there, and it is made anew.
func LoadProfile(folder, digest string) (Profile, error) {
	var p Profile
	b, err := os.ReadFile(filepath.Join(ProfileFolder(folder, digest), "profile.json"))
	none := &Error{Kind: NotFound, Err: ErrNoProfile, Hint: "`pare profile MODEL` makes one"}
	if errors.Is(err, fs.ErrNotExist) {
		return p, none
	}
	if err != nil {
		return p, fmt.Errorf("read profile: %w", err)
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("read profile: %w", err)
	}
	if p.Version != ProfileVersion || p.Model != digest {
		return Profile{}, none
	}
	return p, nil
}
