package report

import (
	"fmt"
	"io"

	"pare/plugin"
	"pare/plugin/phrase"
)

// MergedText writes what a merge made, for the terminal.
func MergedText(w io.Writer, m plugin.Merged) error {
	return writeText(w, document{Sections: []section{{
		Text: []string{fmt.Sprintf("%s is %s with its adapter in its weights: %s changed by %s numbers, %s instead of %s and %s beside it.",
			plain(m.Result.Name), plain(m.Model.Name), phrase.Many(int64(m.Adapter.Tensors), "tensor"), parameters(m.Adapter.Parameters),
			size(m.Result.Bytes), size(m.Model.Bytes), size(m.Adapter.Bytes))},
		Notes: notes(m.Notes),
	}}})
}
