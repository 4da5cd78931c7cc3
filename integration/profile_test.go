package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pare/host/client"
	"pare/integration/tinymodel"
	"pare/plugin"
)

// TestProfile makes a profile, uses it again, adds to it, and looks at it in
// each form that it comes in.
func TestProfile(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	s.write("tales.jsonl", tales)
	s.write("more.txt", more)
	before := s.contents()

	s.must("profile", "tiny", "--corpus", "tales.jsonl")
	first := s.kept("tiny")
	texts := documents(t, tales)
	checkTokens(t, s, "tiny", first, texts)

	t.Run("same text again", func(t *testing.T) {
		s := s.in(t)
		s.must("profile", "tiny", "--corpus", "tales.jsonl")
		s.must("profile", "tiny")
		checkSameProfile(t, first, s.kept("tiny"))
	})
	t.Run("more text", func(t *testing.T) {
		s := s.in(t)
		for range 2 { // the second time adds nothing
			s.must("profile", "tiny", "--corpus", "more.txt", "--add")
			checkTokens(t, s, "tiny", s.kept("tiny"), append(texts, more))
		}
	})
	t.Run("other text", func(t *testing.T) {
		s := s.in(t)
		s.must("profile", "tiny", "--corpus", "more.txt")
		checkTokens(t, s, "tiny", s.kept("tiny"), []string{more})
	})
	t.Run("dry run", func(t *testing.T) { checkDryRun(t, s.in(t)) })
	t.Run("numbers", func(t *testing.T) {
		lines := progressLines(t, s.in(t).must("profile", "tiny", "--json"))
		last := lines[len(lines)-1]
		if last.Status != "success" || last.Profile == nil {
			t.Fatalf("the last line is %+v", last)
		}
		checkSameProfile(t, s.in(t).kept("tiny"), *last.Profile)
	})
	t.Run("drawings", func(t *testing.T) { checkDrawings(t, s.in(t)) })
	if after := s.contents(); !maps.Equal(before, after) {
		t.Errorf("profiles changed the store: it was %v and is %v", before, after)
	}
	checkStore(t, s.models())
}

// more is a text that tales lacks.
const more = "Late frost came that year, and the apples that were still on the trees turned brown in a night."

// documents are the texts of a corpus in JSON lines.
func documents(tb testing.TB, corpus string) (texts []string) {
	tb.Helper()
	for d := json.NewDecoder(strings.NewReader(corpus)); ; {
		var line struct{ Text string }
		err := d.Decode(&line)
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			tb.Fatal(err)
		}
		texts = append(texts, line.Text)
	}
}

// kept is the profile that the server keeps for a model.
func (s *server) kept(model string) plugin.Profile {
	s.tb.Helper()
	code, body := s.get("/api/prune/profile/" + model)
	var p plugin.Profile
	if err := json.Unmarshal([]byte(body), &p); code != http.StatusOK || err != nil {
		s.tb.Fatalf("get the profile of %s: status %d, %v: %s", model, code, err, body)
	}
	return p
}

// checkTokens demands that a profile counts each token of some texts once, but
// for the first of each, which the prompt cache may have: it can be the same.
func checkTokens(t *testing.T, s *server, model string, p plugin.Profile, texts []string) {
	t.Helper()
	tokens := int64(0)
	for _, text := range texts {
		tokens += int64(s.evaluate(model, text, 1).PromptTokens)
	}
	if n := int64(len(texts)); p.Expected != tokens || p.Tokens != tokens-n || p.First.Tokens > n || p.Last.Tokens != n {
		t.Errorf("%d texts of %d tokens: %d expected, %d traced, %d first and %d last ones",
			n, tokens, p.Expected, p.Tokens, p.First.Tokens, p.Last.Tokens)
	}
	if p.All.Tokens != p.Tokens || p.Chunks != len(texts) || len(p.Faults) > 0 {
		t.Errorf("means over %d of %d tokens in %d chunks, faults %v", p.All.Tokens, p.Tokens, p.Chunks, p.Faults)
	}
	checkMeans(t, p.Layers, p.All)
	checkMeans(t, p.Layers, p.Last)
}

// checkMeans demands distances that are such.
func checkMeans(t *testing.T, layers int, m plugin.Means) {
	t.Helper()
	if len(m.Distance) != layers+1 || len(m.Influence) != layers || len(m.Norm) != layers+1 || len(m.Step) != layers {
		t.Fatalf("%d layers: %d rows, %d influences, %d norms, %d steps", layers, len(m.Distance), len(m.Influence), len(m.Norm), len(m.Step))
	}
	for a, row := range m.Distance {
		for b, d := range row {
			if (a == b) != (d == 0) || d < 0 || d > 1 || d != m.Distance[b][a] {
				t.Errorf("the distance of %d and %d is %g, of %d and %d %g", a, b, d, b, a, m.Distance[b][a])
			}
		}
	}
}

// apart is the largest difference between two profiles in any pair of the first
// residuals, n of them.
func apart(a, b plugin.Means, n int) float64 {
	most := 0.0
	for i := range n {
		for j := range n {
			most = math.Max(most, math.Abs(a.Distance[i][j]-b.Distance[i][j]))
		}
	}
	return most
}

func checkSameProfile(t *testing.T, a, b plugin.Profile) {
	t.Helper()
	if a.Trace != b.Trace || a.Tokens != b.Tokens || apart(a.All, b.All, a.Layers) != 0 {
		t.Errorf("the profile was of trace %s with %d tokens, and is of %s with %d", a.Trace, a.Tokens, b.Trace, b.Tokens)
	}
}

// checkDryRun wants the plan and nothing else.
func checkDryRun(t *testing.T, s *server) {
	out := s.must("prune", "tiny", "--drop", "25%", "--dry-run")
	if !strings.Contains(out, " of 8") || strings.Contains(out, "parameters") {
		t.Errorf("a dry run says:\n%s", out)
	}
	rate := 0.25
	report, err := s.client().Prune(context.Background(), client.PruneRequest{Model: "tiny", Drop: &rate, DryRun: true}, func(client.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	if !report.DryRun || len(report.Plan.Remove) != 2 || report.Result != (plugin.ModelInfo{}) {
		t.Errorf("a dry run reports %+v", report)
	}
	if list := s.must("list"); strings.Count(list, "\n") != 2 {
		t.Errorf("there is more than the one model:\n%s", list)
	}
}

// checkDrawings asks for the profile as pictures, plain and with a cut marked.
func checkDrawings(t *testing.T, s *server) {
	read := map[string]func([]byte) error{
		"png": func(b []byte) error { _, err := png.Decode(bytes.NewReader(b)); return err },
		"svg": func(b []byte) error {
			return xml.Unmarshal(b, new(struct {
				XMLName xml.Name `xml:"svg"`
			}))
		},
	}
	for format, read := range read {
		var drawn []string
		for _, query := range []string{"", "?drop=0.25", "?range=1-4"} {
			code, body := s.get("/api/prune/profile/tiny." + format + query)
			if err := read([]byte(body)); code != http.StatusOK || err != nil {
				t.Errorf("%s%s: status %d, %v", format, query, code, err)
			}
			drawn = append(drawn, body)
		}
		if drawn[0] == drawn[1] || drawn[1] == drawn[2] {
			t.Errorf("%s: a cut is not marked", format)
		}
		s.must("profile", "tiny", "--drop", "25%", "-o", "map."+format)
		b, err := os.ReadFile(filepath.Join(s.home, "map."+format))
		if err != nil || string(b) != drawn[1] {
			t.Errorf("%s: the command's file is not what the server draws: %v", format, err)
		}
	}
	if _, errs, err := s.pare("profile", "tiny", "-o", "map.gif"); err == nil || !strings.Contains(errs, ".png or .svg") {
		t.Errorf("drawing a .gif: %v, %s", err, errs)
	}
}

// TestParallelTracing has the server compute four texts at a time, which must
// give what it gives one by one.
func TestParallelTracing(t *testing.T) {
	profile := func(env string) plugin.Profile {
		s := startServer(t, env)
		s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
		s.write("tales.jsonl", tales)
		s.must("profile", "tiny", "--corpus", "tales.jsonl")
		return s.kept("tiny")
	}
	one, four := profile("OLLAMA_NUM_PARALLEL=1"), profile("OLLAMA_NUM_PARALLEL=4")
	if one.Tokens != four.Tokens || one.Last.Tokens != four.Last.Tokens {
		t.Errorf("%d tokens and %d last ones one by one, %d and %d in parallel", one.Tokens, one.Last.Tokens, four.Tokens, four.Last.Tokens)
	}
	for name, m := range map[string][2]plugin.Means{"all": {one.All, four.All}, "last": {one.Last, four.Last}} {
		if d := apart(m[0], m[1], one.Layers+1); d > 1e-3 {
			t.Errorf("%s tokens: distances differ by %g", name, d)
		}
	}
}
