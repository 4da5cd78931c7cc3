package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"pare/plugin"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Every form that is text is held to a file that people have read.
func TestFormsMatchTheirGoldens(t *testing.T) {
	dry := job()
	dry.DryRun, dry.Result, dry.Evaluation, dry.Unmeasured = true, plugin.ModelInfo{}, nil, "the model runs on a machine without room for a second one"
	dry.Plan.Notes = nil
	for name, page := range map[string]*Page{
		"job": OfJob(job(), nil), "dry-run": OfJob(dry, nil), "evaluation": OfEvaluation(evaluation()),
		"alone": OfEvaluation(aloneEvaluation()), "repaired": OfJob(repaired(), nil), "comparison": OfComparison(trials()), "sweep": OfSweep(sweep(30, 1)), "seeds": OfSweep(sweep(80, 3)),
	} {
		for _, format := range []string{"txt", "md"} {
			got := written(t, page, format)
			golden := filepath.Join("testdata", name+"."+format)
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not as in its file (go test -update writes it anew); got\n%s", golden, got)
			}
		}
	}
}

func written(t *testing.T, p *Page, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b, format); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTextFitsTheTerminal(t *testing.T) {
	many := job()
	many.Plan.Layers, many.Plan.Remove = 160, nil
	for l := 0; l < 160; l += 2 {
		many.Plan.Remove = append(many.Plan.Remove, l)
	}
	many.Plan.Chosen.Remove, many.Plan.Alternatives[0].Remove = many.Plan.Remove, many.Plan.Remove
	for _, p := range []*Page{OfJob(many, nil), OfJob(hostile(), nil), OfJob(repaired(), nil), OfComparison(trials()), OfSweep(sweep(80, 3)), OfEvaluation(evaluation())} {
		for _, line := range strings.Split(string(written(t, p, "txt")), "\n") {
			if n := utf8.RuneCountInString(line); n > columns {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	}
}
