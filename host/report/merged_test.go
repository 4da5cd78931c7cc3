package report

import (
	"strings"
	"testing"

	"pare/plugin"
)

func TestMergedText(t *testing.T) {
	var b strings.Builder
	err := MergedText(&b, plugin.Merged{
		Model: plugin.MergedModel{Name: "bot", Bytes: 85e6}, Result: plugin.MergedModel{Name: "bot\x1b[2J-merged", Bytes: 103e6},
		Adapter: plugin.Adapter{Tensors: 84, Parameters: 3_910_000, Bytes: 15e6}, Notes: []string{"something was left out"},
	})
	want := `bot[2J-merged is bot with its adapter in its weights: 84 tensors changed by 3.91M numbers, 103 MB
      instead of 85 MB and 15 MB beside it.
note: something was left out
`
	if got := b.String(); err != nil || got != want {
		t.Errorf("got\n%s, %v\nwant\n%s", got, err, want)
	}
}
