package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"pare/host/heatmap"
	"pare/plugin"
)

// ErrNoFigure says that a report has nothing to draw.
var ErrNoFigure = errors.New("this report has no figure")

// A Page is a report that can be written in any of the formats.
type Page struct {
	content  any // as it stands in report.json
	document document
	draw     func(w io.Writer, format string) error // nil if there is no figure
}

// OfJob is the page of a job. p is the profile behind its plan, for the heat
// map; it may be nil. The figure of a job that trained is the loss.
func OfJob(r plugin.Report, p *plugin.Profile) *Page {
	page := &Page{content: r, document: jobDocument(r, p)}
	switch {
	case r.Repair != nil && r.Repair.Training != nil && len(r.Repair.Training.Curve) > 0:
		page.draw = func(w io.Writer, format string) error { return PlotTraining(w, format, r.Parent.Name, *r.Repair) }
	case p != nil:
		page.draw = func(w io.Writer, format string) error { return drawProfile(w, format, r, *p) }
	}
	return page
}

// OfEvaluation is the page of an evaluation.
func OfEvaluation(e plugin.Evaluation) *Page {
	return &Page{content: e, document: evaluationDocument(e)}
}

// OfSweep is the page of a sweep.
func OfSweep(s plugin.Sweep) *Page {
	return &Page{content: s, document: sweepDocument(s),
		draw: func(w io.Writer, format string) error { return PlotSweep(w, format, s) }}
}

// ContentType is the media type of a format that [Page.Write] knows: "json",
// "md", "html", "txt", "svg" or "png".
func ContentType(format string) (contentType string, ok bool) {
	contentType, ok = map[string]string{
		"json": "application/json",
		"md":   "text/markdown; charset=utf-8",
		"html": "text/html; charset=utf-8",
		"txt":  "text/plain; charset=utf-8",
		"svg":  "image/svg+xml",
		"png":  "image/png",
	}[format]
	return contentType, ok
}

// Write writes the page in a format of [ContentType]. As "svg" and "png" it is
// the figure alone: a job's losses in training or its heat map, a sweep's curves, or [ErrNoFigure].
// Nothing is written if it fails.
func (p *Page) Write(w io.Writer, format string) error {
	var b bytes.Buffer
	if err := p.write(&b, format); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (p *Page) write(b *bytes.Buffer, format string) error {
	switch format {
	case "json":
		e := json.NewEncoder(b)
		e.SetIndent("", "  ")
		return e.Encode(p.content)
	case "md":
		return writeMarkdown(b, p.document)
	case "html":
		return writeHTML(b, p.document)
	case "txt":
		return writeText(b, p.document)
	case "svg", "png":
		if p.draw == nil {
			return ErrNoFigure
		}
		return p.draw(b, format)
	}
	return fmt.Errorf("format %q: use json, md, html, txt, svg or png", format)
}

// drawProfile draws the heat map with the job's plan on it.
func drawProfile(w io.Writer, format string, r plugin.Report, p plugin.Profile) error {
	return heatmap.Write(w, format, p, heatmap.Options{Tokens: r.Plan.TokensUsed, Plan: &r.Plan, Title: plain(r.Parent.Name)})
}
