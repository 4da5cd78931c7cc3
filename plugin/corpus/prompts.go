package corpus

import (
	_ "embed"
	"strings"
)

//go:embed prompts.txt
var promptFile string

// Prompts returns what a model is asked in order to compare its answers with
// those of another: 24 requests of different kinds, each the only message of a
// chat, which can be answered in fewer than 80 tokens. The first 8 are a fair sample.
// They were written for Pare and share no phrase with Trace.
func Prompts() []string {
	return strings.Split(strings.TrimSuffix(promptFile, "\n"), "\n---\n")
}
