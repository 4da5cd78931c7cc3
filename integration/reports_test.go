package integration

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkReports asks for the report of a job in each form that there is, by the
// command and by the API, which must not differ. The JSON goes into into; each of
// says stands in the text, the Markdown and the page.
func checkReports(t *testing.T, s *server, id string, into any, says ...string) {
	t.Helper()
	wellFormed := map[string]func([]byte) error{
		"json": func(b []byte) error { return json.Unmarshal(b, into) },
		"svg":  func(b []byte) error { return xml.Unmarshal(b, new(struct{ XMLName xml.Name })) },
		"png":  func(b []byte) error { _, err := png.Decode(bytes.NewReader(b)); return err },
		"html": alone,
		"md":   nil,
		"txt":  nil,
	}
	for format, read := range wellFormed {
		file := "report." + format
		s.must("jobs", "report", id, "-o", file)
		b, err := os.ReadFile(filepath.Join(s.home, file))
		if err != nil {
			t.Fatal(err)
		}
		if code, body := s.get("/api/prune/jobs/" + id + "/" + file); code != http.StatusOK || body != string(b) {
			t.Errorf("%s: status %d, or not what the command wrote", file, code)
		}
		if read != nil {
			if err := read(b); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			continue
		}
		for _, part := range says {
			if !strings.Contains(string(b), part) {
				t.Errorf("%s lacks %q:\n%s", file, part, b)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(s.home, "report.txt"))
	if out := s.must("jobs", "report", id); err != nil || out != string(text) {
		t.Errorf("printed is %q, the file %q, %v", out, text, err)
	}
	if code, body := s.get("/api/prune/jobs/" + id + "/report"); code != http.StatusOK || !strings.HasPrefix(body, "{") {
		t.Errorf("without a form: status %d, %.40q", code, body)
	}
}

// alone demands a page that fetches nothing.
func alone(page []byte) error {
	for _, tag := range []string{"<script", "<link", `src="http`, "url(http"} {
		if bytes.Contains(page, []byte(tag)) {
			return fmt.Errorf("the page has %s", tag)
		}
	}
	return nil
}
