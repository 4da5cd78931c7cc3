package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"html"
	"image/png"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// elements lists the names of a page's elements, after checking that none can
// load or run anything.
func elements(t *testing.T, page []byte) []string {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var names []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		name := strings.ToLower(e.Name.Local)
		names = append(names, name)
		for _, a := range e.Attr {
			if key := strings.ToLower(a.Name.Local); strings.HasPrefix(key, "on") || slices.Contains([]string{"src", "href", "srcset", "data", "action"}, key) {
				t.Errorf("<%s %s=%q>", name, key, a.Value)
			}
		}
		if slices.Contains([]string{"script", "link", "img", "image", "use", "iframe", "object", "embed", "form", "a", "base", "foreignobject"}, name) {
			t.Errorf("<%s> is on the page", name)
		}
	}
}

func TestPagesHoldTheirPartsAndLoadNothing(t *testing.T) {
	p := profile(30)
	for name, c := range map[string]struct {
		page    *Page
		figures int
		parts   []string
	}{
		"job": {OfJob(job(), &p), 1, []string{"Verdict: repair first.", "What goes", "Before and after", "How far each block", "Answers",
			"The sky is blue because the sky is blue.", "Provenance", "sha256:fedcba9876543210", "the second half of each scored", "sha256:0a1b2c3d4e5f"}},
		"repaired":   {OfJob(repaired(), &p), 2, []string{"Repair", "closed form", "42.6 ± 3.0", "blk.11.ffn_down.weight", "learning rate 0.0005", "sha256:aa11bb22cc33dd44"}},
		"comparison": {OfComparison(trials()), 0, []string{"Nearest to the uncut model:", "linear+qlora", "full failed: training every layer", "8m41s"}},
		"evaluation": {OfEvaluation(evaluation()), 0, []string{"arithmetic", "encyclopedia", "9f1e22c0a5d1"}},
		"sweep":      {OfSweep(sweep(30, 2)), 2, []string{"Best within +35% perplexity", "Each layer alone", "KL divergence by style"}},
	} {
		page := written(t, c.page, "html")
		names := elements(t, page)
		figures := 0
		for _, n := range names {
			if n == "svg" {
				figures++
			}
		}
		if figures != c.figures {
			t.Errorf("%s: %d figures, want %d", name, figures, c.figures)
		}
		for _, part := range c.parts {
			if !strings.Contains(html.UnescapeString(string(page)), part) {
				t.Errorf("%s: %q is missing", name, part)
			}
		}
		if url := regexp.MustCompile(`(?i)(https?:)?//[a-z]|url\(|@import`).Find(page); url != nil {
			t.Errorf("%s: %q is on the page", name, url)
		}
	}
}

func TestNamesCannotSteer(t *testing.T) {
	p := profile(30)
	for _, format := range []string{"txt", "md", "html"} {
		b := written(t, OfJob(hostile(), &p), format)
		if bytes.ContainsAny(b, "\x1b\u202e") {
			t.Errorf("%s: a control character is left", format)
		}
	}
	elements(t, written(t, OfJob(hostile(), &p), "html"))
	s := sweep(30, 1)
	s.Model.Name, s.Points[0].Criterion = hostile().Parent.Name, hostile().Parent.Name
	elements(t, written(t, OfSweep(s), "html"))

	// In Markdown, an answer cannot leave its fence, nor a name its cell.
	md := string(written(t, OfJob(hostile(), nil), "md"))
	var outside []string
	fence := ""
	for _, line := range strings.Split(md, "\n") {
		switch mark, opens := strings.CutSuffix(line, "text"); {
		case fence == "" && opens && strings.Trim(mark, "`") == "" && len(mark) >= 3:
			fence = mark
		case fence != "" && line == fence:
			fence = ""
		case fence == "":
			outside = append(outside, line)
		}
	}
	for _, line := range outside {
		if strings.Contains(line, "<script") || strings.HasPrefix(line, "# heading") {
			t.Errorf("outside of a fence: %q", line)
		}
		if bars := strings.Count(line, "|") - strings.Count(line, `\|`); strings.HasPrefix(line, "| size") && bars != 5 {
			t.Errorf("%d bars in %q", bars, line)
		}
	}
	if fence != "" || !strings.Contains(md, "````text\n") {
		t.Error("an answer with a fence in it does not stand in a longer one")
	}
}

func TestFiguresAreTheSameEachTime(t *testing.T) {
	s := sweep(80, 3)
	for _, format := range []string{"svg", "png"} {
		for _, draw := range []func(*bytes.Buffer) error{
			func(b *bytes.Buffer) error { return PlotSweep(b, format, s) },
			func(b *bytes.Buffer) error { return PlotLayers(b, format, s) },
			func(b *bytes.Buffer) error { return PlotTraining(b, format, "smollm2", *repaired().Repair) },
		} {
			var a, b bytes.Buffer
			if err := draw(&a); err != nil {
				t.Fatal(err)
			}
			if err := draw(&b); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
				t.Errorf("%s: %v; the second drawing differs from the first", format, err)
			}
			if format == "png" {
				if _, err := png.Decode(&a); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// A line whose bounds cannot be drawn, a single cut, and a model whose loss
// falls without a layer must not stop a figure.
func TestFiguresOfOddSweeps(t *testing.T) {
	s := sweep(30, 1)
	s.Points[0].Text[0].Rise.High = 1e300
	s.Points[1].Text[0].KL = nil
	s.Points[2].Text[0].Rise.Value = -3
	s.Layers[4].Rise.Value = -1
	one := sweep(30, 1)
	one.Points, one.Layers = one.Points[:1], one.Layers[:1]
	for _, s := range []struct {
		name string
		svg  func(*bytes.Buffer) error
	}{
		{"sweep", func(b *bytes.Buffer) error { return PlotSweep(b, "svg", s) }},
		{"layers", func(b *bytes.Buffer) error { return PlotLayers(b, "svg", s) }},
		{"one cut", func(b *bytes.Buffer) error { return PlotSweep(b, "svg", one) }},
		{"one layer", func(b *bytes.Buffer) error { return PlotLayers(b, "svg", one) }},
	} {
		var b bytes.Buffer
		if err := s.svg(&b); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("%s: a place that is no number", s.name)
		}
	}
}

// Keys that do not fit beside each other go on in a row of their own.
func TestKeysStayInTheChart(t *testing.T) {
	var c chart
	for _, name := range []string{"auto", "loss", "greedy", "angular", "cumulative", "influence", "deepest", "file size", "best within +10%"} {
		c.keys = append(c.keys, key{name: name})
	}
	shown := 0
	for _, row := range c.keyRows() {
		x := 0.
		for _, k := range row {
			x += float64(k.width())
			shown++
		}
		if x > chartWidth {
			t.Errorf("a row of keys is %v wide", x)
		}
	}
	if shown != len(c.keys) {
		t.Errorf("%d of %d keys are shown", shown, len(c.keys))
	}
}
