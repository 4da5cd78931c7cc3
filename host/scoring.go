package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/ollama/ollama/api"

	"pare/host/score"
	"pare/plugin"
)

// Tokenize implements plugin.Host.
func (l *lent) Tokenize(ctx context.Context, model string, texts []string) ([][]int32, error) {
	s, err := l.lookUp(model)
	if err != nil {
		return nil, err
	}
	var tokens [][]int32
	err = again(ctx, func() (err error) {
		tokens, err = l.scorer.Tokenize(ctx, s.path, texts, false)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tokenize for %s: %w", model, err)
	}
	return tokens, nil
}

// Score implements plugin.Host.
func (l *lent) Score(ctx context.Context, r plugin.ScoreRequest, each func(plugin.Score) error) error {
	models, err := l.variants(r.Model, r.Variants)
	if err != nil {
		return err
	}
	first := 0 // sequence that is not done
	told := make([]map[int]bool, len(r.Sequences))
	return again(ctx, func() error {
		for first < len(told) && told[first] != nil && len(told[first]) == len(models) {
			first++
		}
		if first > 0 && first == len(told) {
			return nil // it ended behind its last word
		}
		return l.scorer.Score(ctx, models, r.Sequences[first:], r.Compare, func(s plugin.Score) error {
			s.Sequence += first
			if told[s.Sequence][s.Variant] {
				return nil
			}
			if told[s.Sequence] == nil {
				told[s.Sequence] = map[int]bool{}
			}
			told[s.Sequence][s.Variant] = true
			return each(s)
		})
	})
}

// again does what needs the scoring process until that lives through it, as often as
// a text is traced.
func again(ctx context.Context, do func() error) error {
	var err error
	for range tries {
		if err = do(); !errors.Is(err, score.ErrEnded) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// Footprint implements plugin.Host.
func (l *lent) Footprint(ctx context.Context, model string, v plugin.Variant) (plugin.Footprint, error) {
	models, err := l.variants(model, []plugin.Variant{{Path: v.Path, Model: v.Model, Digest: v.Digest}})
	if err != nil {
		return plugin.Footprint{}, err
	}
	var f plugin.Footprint
	err = again(ctx, func() (err error) {
		f, err = l.scorer.Footprint(ctx, models[0].Path)
		return err
	})
	return f, err
}

// Floats implements plugin.Host.
func (l *lent) Floats(ctx context.Context, kind uint32, data []byte) (w []float32, err error) {
	err = again(ctx, func() error {
		w, err = l.scorer.Floats(ctx, kind, data)
		return err
	})
	return w, err
}

// variants finds the files of variants. All run on as many threads as the call's
// model is served with.
func (l *lent) variants(name string, variants []plugin.Variant) ([]score.Model, error) {
	s, err := l.lookUp(name)
	if err != nil {
		return nil, err
	}
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	models := make([]score.Model, len(variants))
	for i, v := range variants {
		models[i] = score.Model{Path: s.path, Bypass: v.Bypass, Threads: o.NumThread}
		switch {
		case v.Path != "":
			models[i].Path, err = l.inFolder(v.Path)
		case v.Model != "":
			var other stored
			other, err = lookUp("model", v.Model)
			models[i].Path = other.path
			if err == nil && v.Digest != "" && other.gguf.Digest != v.Digest {
				err = plugin.Errorf(plugin.Unavailable, "model %q was replaced while the job ran; ask for it again", v.Model)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("find variant %d of %s: %w", i, name, err)
		}
	}
	return models, nil
}

// inFolder is the real path of a file, which must be in the call's folder.
func (l *lent) inFolder(file string) (string, error) {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return "", err
	}
	folder, err := filepath.EvalSymlinks(l.folder)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(path, folder+string(filepath.Separator)) {
		return "", plugin.Errorf(plugin.Invalid, "the file is outside the job's folder")
	}
	return path, nil
}

// unloading is how long serving runners may take to let go of their memory.
const unloading = 10 * time.Second

// unload ends the runners that serve, for a model to be scored needs the memory, and
// reports whether there were any. They start again when they are asked. What goes wrong
// costs speed alone.
func unload(ollama *api.Client, log *slog.Logger) func(context.Context) bool {
	return func(ctx context.Context) (some bool) {
		ctx, cancel := context.WithTimeout(ctx, unloading)
		defer cancel()
		for running := []api.ProcessModelResponse{{}}; len(running) > 0; {
			all, err := ollama.ListRunning(ctx)
			if err != nil {
				log.Warn("cannot make room for scoring", "error", err)
				return some
			}
			running = all.Models
			for _, m := range running {
				r := &api.GenerateRequest{Model: m.Model, KeepAlive: &api.Duration{}}
				if err := ollama.Generate(ctx, r, func(api.GenerateResponse) error { return nil }); err != nil {
					log.Warn("cannot make room for scoring", "model", m.Model, "error", err)
					return some
				}
				some = true
			}
			if len(running) > 0 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		return some
	}
}
