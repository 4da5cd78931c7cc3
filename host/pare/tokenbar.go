package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"pare/host/client"
)

// A tokenBar is a bar like those of `ollama pull` for what is counted in tokens:
// it tells the tokens a second and the time left, as the server does.
type tokenBar struct {
	mu sync.Mutex
	p  client.Progress
}

func (b *tokenBar) set(p client.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.p = p
}

// String implements progress.State.
func (b *tokenBar) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil {
		width = 80
	}
	return drawTokens(b.p, width)
}

func drawTokens(p client.Progress, width int) string {
	share := min(1, float64(p.Completed)/float64(max(p.Total, 1)))
	before := fmt.Sprintf("%s %3.0f%% ▕", p.Status, 100*share)
	after := "▏"
	if p.Rate > 0 && share < 1 {
		after += fmt.Sprintf(" %6.0f tokens/s %8s", p.Rate, left(p))
	}
	room := max(0, width-utf8.RuneCountInString(before)-utf8.RuneCountInString(after)-1)
	full := int(share * float64(room))
	return before + strings.Repeat("█", full) + strings.Repeat(" ", room-full) + after
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
	return stage == "try" || stage == "evaluate" || stage == "sweep"
}
