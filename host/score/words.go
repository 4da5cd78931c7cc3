package score

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// words keeps the last lines that a process said before it ended.
type words struct {
	mu    sync.Mutex
	lines []string
	trace bool // what follows is the stacks of goroutines, of no use to a person
}

const (
	lastLines = 4
	lineBytes = 400
)

// follow logs what r says, a line at a time, until it ends.
func (w *words) follow(r io.Reader, log *slog.Logger) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			log.Log(context.Background(), slog.LevelDebug, "scoring process", "says", line)
			w.keep(line)
		}
		if err != nil {
			return
		}
	}
}

func (w *words) keep(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trace = w.trace || strings.HasPrefix(line, "goroutine "); w.trace {
		return
	}
	w.lines = append(w.lines, line[:min(len(line), lineBytes)])
	w.lines = w.lines[max(0, len(w.lines)-lastLines):]
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, " / ")
}
