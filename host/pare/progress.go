package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ollama/ollama/progress"
	"golang.org/x/term"

	"pare/host/client"
)

// What a person sees while a job runs. To stderr, so that stdout is the result:
//
//   - on a terminal, bars and spinners as those of `ollama pull`;
//   - elsewhere, a line when a stage begins and one when it ends;
//   - with --json, nothing: each line of progress goes to stdout as it came.

// errReported ends the command with status 1 after its error was printed as JSON.
var errReported = errors.New("reported")

// A follower shows the lines of a job's progress.
type follower interface {
	show(client.Progress)
	stop()
}

func newFollower(asJSON bool) follower {
	switch {
	case asJSON:
		return &jsonFollower{json.NewEncoder(os.Stdout)}
	case term.IsTerminal(int(os.Stderr.Fd())):
		return &barFollower{p: progress.NewProgress(os.Stderr), bars: map[string]*progress.Bar{}}
	}
	return &lineFollower{w: os.Stderr, told: map[string]bool{}}
}

type jsonFollower struct{ *json.Encoder }

func (f *jsonFollower) show(p client.Progress) { _ = f.Encode(p) }
func (f *jsonFollower) stop()                  {}

// fail prints an error the way the API does.
func (f *jsonFollower) fail(err error) error {
	p := client.Progress{Error: err.Error()}
	var status *client.StatusError
	if errors.As(err, &status) {
		p.Code = status.Code
	}
	_ = f.Encode(p)
	return errReported
}

type barFollower struct {
	p       *progress.Progress
	bars    map[string]*progress.Bar
	spinner *progress.Spinner
	status  string
}

func (f *barFollower) show(p client.Progress) {
	if p.Status == "success" {
		return
	}
	if p.Total > 0 {
		bar, ok := f.bars[p.Stage]
		if !ok {
			f.rest()
			bar = progress.NewBar(p.Status, p.Total, p.Completed)
			f.bars[p.Stage] = bar
			f.p.Add(p.Stage, bar)
		}
		bar.Set(p.Completed)
		return
	}
	if p.Status != f.status {
		f.rest()
		f.status = p.Status
		f.spinner = progress.NewSpinner(p.Status)
		f.p.Add(p.Status, f.spinner)
	}
}

func (f *barFollower) rest() {
	if f.spinner != nil {
		f.spinner.Stop()
	}
}

func (f *barFollower) stop() {
	f.rest()
	f.p.Stop()
}

type lineFollower struct {
	w    io.Writer
	told map[string]bool
}

func (f *lineFollower) show(p client.Progress) {
	if p.Status == "success" {
		return
	}
	text := p.Status
	if p.Total > 0 && p.Completed == p.Total {
		text += ": done"
	}
	if !f.told[text] {
		f.told[text] = true
		fmt.Fprintln(f.w, text)
	}
}

func (f *lineFollower) stop() {}
