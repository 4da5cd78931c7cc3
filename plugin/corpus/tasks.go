package corpus

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed tasks/*.jsonl
var taskFiles embed.FS

// Tasks returns the questions that ship with Pare, which were written for it
// and share no phrase with Trace. Their kinds take turns, so that the first questions
// are a fair sample of all of them, and each kind has the same number. Whoever guesses
// gets a quarter right.
func Tasks() []Question {
	entries, err := taskFiles.ReadDir("tasks")
	if err != nil {
		panic(fmt.Sprintf("corpus: %v", err)) // the folder is embedded
	}
	kinds := make([][]Question, len(entries))
	for i, e := range entries {
		data, err := taskFiles.ReadFile("tasks/" + e.Name())
		if err != nil {
			panic(fmt.Sprintf("corpus: %v", err))
		}
		_, kind, _ := strings.Cut(strings.TrimSuffix(e.Name(), ".jsonl"), "-")
		if kinds[i], _, err = ParseQuestions(kind, data); err != nil {
			panic(fmt.Sprintf("corpus: %v", err))
		}
	}
	return Interleave(kinds)
}
