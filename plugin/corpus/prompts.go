package corpus

import (
	_ "embed"
	"strings"
)

var (
	//go:embed prompts.txt
	promptFile string

	//go:embed openings.txt
	openingFile string
)

// Prompts returns what a model is asked in order to compare its answers with
// those of another: 24 requests of different kinds, each the only message of a
// chat, which can be answered in fewer than 80 tokens. The first 8 are a fair sample.
// They were written for Pare and share no phrase with Trace.
func Prompts() []string {
	return strings.Split(strings.TrimSuffix(promptFile, "\n"), "\n---\n")
}

// Openings returns what a whole model is to go on with in order to repair a cut one with
// what it wrote: 126 beginnings of texts of many kinds, all different. They were written for Pare
// and share no phrase with what is traced or scored.
func Openings() []string {
	return strings.Split(strings.TrimSuffix(openingFile, "\n"), "\n")
}
