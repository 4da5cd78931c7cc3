package corpus

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed train/*.txt
var trainFiles embed.FS

// TrainPrompts returns what a whole model is asked in order to repair a cut one
// with its answers: 320 requests, each the only message of a chat, in 28 kinds and
// nine languages. The kinds are interleaved, so that the first prompts are a fair
// sample of all of them. They were written for Pare and share no phrase with what
// is traced or scored.
func TrainPrompts() []string {
	entries, err := trainFiles.ReadDir("train")
	if err != nil {
		panic(fmt.Sprintf("corpus: %v", err)) // the folder is embedded
	}
	kinds := make([][]string, len(entries))
	for i, e := range entries {
		data, err := trainFiles.ReadFile("train/" + e.Name())
		if err != nil {
			panic(fmt.Sprintf("corpus: %v", err))
		}
		kinds[i] = strings.Split(strings.TrimSuffix(string(data), "\n"), "\n---\n")
	}
	return Interleave(kinds)
}
