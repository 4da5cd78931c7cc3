// Package report tells people what a job, an evaluation, a sweep or a merge came to: as
// text for the terminal, as Markdown, as one HTML page that needs nothing else,
// and as figures.
//
// All forms are made from one document, so that they cannot disagree, and hold
// no number that is not in the JSON form of the same report. Names, prompts and
// answers come from strangers: control characters are dropped from them, and
// each form escapes them by its own rules. The same input gives the same bytes:
// no form holds a path, nor a date but those of the traffic that layers were chosen by.
package report

import (
	"io"

	"pare/plugin"
)

// Text writes a job's report for the terminal: which layers go and why, the
// model before and after, and the verdict. Lines are at most 100 columns wide,
// here and in the other texts.
func Text(w io.Writer, r plugin.Report) error { return writeText(w, jobDocument(r, nil)) }

// EvaluationText writes an evaluation of one model alone or of two for the
// terminal, with its tables by style of text and by kind of task.
func EvaluationText(w io.Writer, e plugin.Evaluation) error {
	return writeText(w, evaluationDocument(e))
}

// SweepText writes a sweep for the terminal: one row for each number of layers
// and criterion, the best within the tolerance, and what each layer is for.
func SweepText(w io.Writer, s plugin.Sweep) error { return writeText(w, sweepDocument(s)) }
