package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"pare/host/client"
)

// A textBar is a bar like those of `ollama pull` for what is not counted in bytes:
// it tells the time left, as the server does, and the tokens a second, or, in
// training, whatever the status says of the losses.
type textBar struct {
	mu sync.Mutex
	p  client.Progress
}

func (b *textBar) set(p client.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.p = p
}

// String implements progress.State.
func (b *textBar) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil {
		width = 80
	}
	return drawText(b.p, width)
}

// narrowest is what a long status leaves of a bar, in columns.
const narrowest = 10

func drawText(p client.Progress, width int) string {
	share := min(1, float64(p.Completed)/float64(max(p.Total, 1)))
	before, after := fmt.Sprintf(" %3.0f%% ▕", 100*share), "▏"
	if p.Rate > 0 && share < 1 {
		if inTokens(p.Stage) {
			after += fmt.Sprintf(" %6.0f tokens/s", p.Rate)
		}
		after += fmt.Sprintf(" %8s", left(p))
	}
	room := width - utf8.RuneCountInString(before) - utf8.RuneCountInString(after) - 1
	status := []rune(p.Status)
	if most := max(0, room-narrowest); len(status) > most {
		status = status[:most] // a line that wraps would be drawn again and again
	}
	room = max(0, room-len(status))
	full := int(share * float64(room))
	return string(status) + before + strings.Repeat("█", full) + strings.Repeat(" ", room-full) + after
}

// left is the time that a stage still takes.
func left(p client.Progress) string {
	d := time.Duration(p.Left * float64(time.Second)).Round(time.Second)
	if d >= time.Hour {
		return d.Round(time.Minute).String()
	}
	return d.String()
}

// inTokens reports whether a stage counts tokens.
func inTokens(stage string) bool {
	return slices.Contains([]string{"try", "answer", "observe", "evaluate", "sweep"}, stage)
}

// takesLong reports whether the time left of a stage is told.
func takesLong(stage string) bool { return inTokens(stage) || client.OneStep(stage) }
