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
//   - elsewhere, a line when a stage begins and one when it ends, and for what
//     takes long one at each quarter with the time left; training tells its loss
//     in each;
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
		return &barFollower{p: progress.NewProgress(os.Stderr), bars: map[string]bar{}}
	}
	return &lineFollower{w: os.Stderr, told: map[string]bool{}}
}

// within shows the progress of a job that is part of a command: its last line is not
// the command's.
func within(f follower) func(client.Progress) {
	return func(p client.Progress) {
		if p.Status != "success" {
			f.show(p)
		}
	}
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
	bars    map[string]bar // by step
	spinner *progress.Spinner
	status  string
}

func (f *barFollower) show(p client.Progress) {
	if p.Status == "success" {
		return
	}
	if p.Total > 0 {
		key := step(p)
		if f.bars[key] == nil {
			f.rest()
			f.bars[key] = newBar(p)
			f.p.Add(key, f.bars[key])
		}
		f.bars[key].set(p)
		return
	}
	if p.Status != f.status {
		f.rest()
		f.status = p.Status
		f.spinner = progress.NewSpinner(p.Status)
		f.p.Add(p.Status, f.spinner)
	}
}

// step tells what belongs together from what does not.
func step(p client.Progress) string {
	if client.OneStep(p.Stage) {
		return p.Stage
	}
	return p.Stage + " " + p.Status
}

// A bar shows how far a stage is.
type bar interface {
	progress.State
	set(client.Progress)
}

func newBar(p client.Progress) bar {
	if takesLong(p.Stage) {
		return &textBar{p: p}
	}
	return byteBar{progress.NewBar(p.Status, p.Total, p.Completed)}
}

type byteBar struct{ *progress.Bar }

func (b byteBar) set(p client.Progress) { b.Set(p.Completed) }

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
	text, key := p.Status, step(p)
	switch quarter := 4 * p.Completed / max(p.Total, 1); {
	case p.Total > 0 && p.Completed == p.Total:
		text, key = text+": done", key+": done"
	case takesLong(p.Stage) && quarter > 0:
		at := fmt.Sprintf(": %d%%", 25*quarter)
		text, key = text+at, key+at
		if p.Left > 0 {
			text += ", " + left(p) + " left"
		}
	}
	if !f.told[key] {
		f.told[key] = true
		fmt.Fprintln(f.w, text)
	}
}

func (f *lineFollower) stop() {}
