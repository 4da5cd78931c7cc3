package integration

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"

	"pare/integration/tinymodel"
)

// A bad request, and how it is refused.
type bad struct {
	name   string
	method string // POST
	path   string // /api/prune
	body   any    // as it is if it is a string, else as JSON
	host   string
	origin string
	status int
	says   []string // parts of the sentence
}

// fields are a request's body.
type fields = map[string]any

// prune is a request that would work, changed.
func pruneWith(changes fields) fields {
	f := fields{"model": "tiny", "name": "small", "layers": 2, "corpus": fields{"name": "tales", "text": tales}}
	for k, v := range changes {
		if f[k] = v; v == nil {
			delete(f, k)
		}
	}
	return f
}

func dropOf(v any) fields     { return pruneWith(fields{"layers": nil, "drop": v}) }
func rangeOf(v string) fields { return pruneWith(fields{"layers": nil, "range": v}) }
func textOf(name, text string) fields {
	return pruneWith(fields{"corpus": fields{"name": name, "text": text}})
}

var badRequests = []bad{
	{name: "unknown model", body: pruneWith(fields{"model": "nobody"}), status: 404, says: []string{`model \"nobody\" not found`, "pare list"}},
	{name: "no model", body: pruneWith(fields{"model": nil}), status: 400, says: []string{"model is missing"}},
	{name: "bad model name", body: pruneWith(fields{"model": "../../etc"}), status: 400, says: []string{"not a valid model name"}},
	{name: "bad name", body: pruneWith(fields{"name": "a b"}), status: 400, says: []string{`name \"a b\" is not a valid model name`}},
	{name: "path as name", body: pruneWith(fields{"name": "../../../tmp/x"}), status: 400, says: []string{"not a valid model name"}},
	{name: "no name", body: pruneWith(fields{"name": nil}), status: 400, says: []string{"name is missing"}},
	{name: "name taken", body: pruneWith(fields{"name": "gemma"}), status: 409, says: []string{"exists already", "force"}},
	{name: "the parent's name", body: pruneWith(fields{"name": "tiny", "force": true}), status: 409, says: []string{"cannot replace"}},

	{name: "rate 0", body: dropOf(0), status: 400, says: []string{"drop is 0", "between 0 and 1"}},
	{name: "rate 1", body: dropOf(1), status: 400, says: []string{"drop is 1"}},
	{name: "rate negative", body: dropOf(-0.25), status: 400, says: []string{"drop is -0.25"}},
	{name: "rate 25", body: dropOf(25), status: 400, says: []string{"drop is 25"}},
	{name: "rate of all layers", body: dropOf(0.99), status: 400, says: []string{"all of them"}},
	{name: "rate NaN", body: `{"model":"tiny","name":"small","drop":NaN}`, status: 400, says: []string{"read the request's JSON"}},
	{name: "rate in words", body: dropOf("a lot"), status: 400, says: []string{"read the request's JSON", "drop"}},
	{name: "no layers", body: pruneWith(fields{"layers": 0}), status: 400, says: []string{"layers is 0", "at least one"}},
	{name: "all layers", body: pruneWith(fields{"layers": 8}), status: 400, says: []string{"cannot remove 8 of 8 layers"}},
	{name: "layers negative", body: pruneWith(fields{"layers": -1}), status: 400, says: []string{"layers is -1"}},
	{name: "nothing to remove", body: pruneWith(fields{"layers": nil}), status: 400, says: []string{"exactly one of drop, layers and range"}},
	{name: "drop and layers", body: pruneWith(fields{"drop": 0.25}), status: 400, says: []string{"exactly one of drop, layers and range"}},
	{name: "layers and range", body: pruneWith(fields{"range": "1-2"}), status: 400, says: []string{"exactly one of drop, layers and range"}},
	{name: "range outside", body: rangeOf("6-8"), status: 400, says: []string{"no layer 8", "0 to 7"}},
	{name: "range of all", body: rangeOf("0-7"), status: 400, says: []string{"all 8 layers"}},
	{name: "range backwards", body: rangeOf("5-2"), status: 400, says: []string{"runs backwards"}},
	{name: "range of nothing", body: rangeOf("two"), status: 400, says: []string{`\"two\" is not a layer`}},
	{name: "range twice", body: rangeOf("2,1-3"), status: 400, says: []string{"twice"}},
	{name: "range too far", body: rangeOf("0-4000000000"), status: 400, says: []string{"not a layer"}},
	{name: "range protected", body: pruneWith(fields{"layers": nil, "range": "2", "protect": "2"}), status: 400, says: []string{"layer 2"}},
	{name: "too much protected", body: pruneWith(fields{"protect": "0-6"}), status: 400, says: []string{"protect", "longest free block has 0"}},
	{name: "too many protected", body: pruneWith(fields{"protect": "0-5", "criterion": "influence"}), status: 400, says: []string{"protect", "there are 1 layers"}},
	{name: "unknown criterion", body: pruneWith(fields{"criterion": "taste"}), status: 400, says: []string{"angular, cumulative, influence, deepest"}},
	{name: "unknown tokens", body: pruneWith(fields{"tokens": "some"}), status: 400, says: []string{`\"all\" or \"last\"`}},
	{name: "forbidden cut", body: pruneWith(fields{"model": "gemma", "layers": nil, "range": "3"}), status: 422, says: []string{"every 6th layer", "instead"}},

	{name: "no allowed cut", body: pruneWith(fields{"model": "gemma", "layers": 1}), status: 422, says: []string{"no set of 1 layers", "every 6th layer"}},

	{name: "corpus empty", body: textOf("empty.txt", ""), status: 400, says: []string{"corpus: it is empty"}},
	{name: "corpus blank", body: textOf("blank.txt", " \n\n"), status: 400, says: []string{"blank.txt", "no text"}},
	{name: "corpus binary", body: textOf("photo.jpg", "\x01\x00\x02"), status: 400, says: []string{"photo.jpg", "byte 1 is NUL"}},
	{name: "corpus line", body: textOf("chat.jsonl", "{\"text\": \"one\"}\n\n{\"text\": \n"), status: 400, says: []string{"chat.jsonl", "line 3"}},
	{name: "corpus shape", body: textOf("chat.jsonl", "{\"text\": \"one\"}\n{\"speech\": \"two\"}\n"), status: 400, says: []string{"line 2", "messages"}},
	{name: "corpus twice", body: pruneWith(fields{"corpus": fields{"text": "a", "digest": "sha256:" + strings.Repeat("0", 64)}}), status: 400, says: []string{"not both"}},
	{name: "corpus digest", body: pruneWith(fields{"corpus": fields{"digest": "sha256:../../passwd"}}), status: 400, says: []string{"not a digest"}},
	{name: "corpus not uploaded", body: pruneWith(fields{"corpus": fields{"digest": "sha256:" + strings.Repeat("0", 64)}}), status: 404, says: []string{"upload it"}},
	{name: "corpus as path", body: pruneWith(fields{"corpus": fields{"path": "/etc/passwd"}}), status: 400, says: []string{`unknown field \"path\"`}},

	{name: "unknown field", body: pruneWith(fields{"dropp": 0.5}), status: 400, says: []string{`unknown field \"dropp\"`}},
	{name: "no body", body: "", status: 400, says: []string{"it is empty"}},
	{name: "half a body", body: `{"model":`, status: 400, says: []string{"read the request's JSON"}},
	{name: "foreign host", body: pruneWith(nil), host: "pare.example.com", status: 403, says: []string{"local host names"}},
	{name: "foreign origin", body: pruneWith(nil), origin: "https://pare.example.com", status: 403},
	{name: "wrong method", method: "GET", status: 405},
	{name: "wrong method on a job", method: "PUT", path: "/api/prune/jobs/0123456789ab", status: 405},
	{name: "unknown route", path: "/api/prune/nothing", status: 404, says: []string{"no such route"}},
	{name: "unknown job", method: "GET", path: "/api/prune/jobs/0123456789ab", status: 404, says: []string{`no job \"0123456789ab\"`, "pare jobs"}},
	{name: "job that is none", method: "GET", path: "/api/prune/jobs/no.job", status: 404},
	{name: "unknown job to cancel", method: "DELETE", path: "/api/prune/jobs/0123456789ab", status: 404, says: []string{"no job"}},
	{name: "no profile", method: "GET", path: "/api/prune/profile/untraced", status: 404, says: []string{"no profile is kept", "pare profile"}},
	{name: "no profile to draw", method: "GET", path: "/api/prune/profile/untraced.png", status: 404, says: []string{"no profile is kept"}},
	{name: "no profile to plan by", path: "/api/prune/plan", body: fields{"model": "untraced", "layers": 2}, status: 404, says: []string{"no profile is kept"}},
	{name: "profile of nobody", method: "GET", path: "/api/prune/profile/nobody", status: 404, says: []string{"not found"}},
}

// TestBadRequests sends what cannot be done. Each is refused with a status and a
// sentence, and leaves the store as it was and the server at work.
func TestBadRequests(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	s.createTiny("untraced", tinymodel.Config{Architecture: "llama", Seed: 1})
	s.createTiny("gemma", tinymodel.Config{Architecture: "gemma3"})
	before := s.contents()
	for _, b := range badRequests {
		t.Run(b.name, func(t *testing.T) {
			s := s.in(t)
			status, body := s.send(b)
			if status != b.status {
				t.Errorf("status %d, want %d", status, b.status)
			}
			for _, part := range b.says {
				if !strings.Contains(body, part) {
					t.Errorf("the answer lacks %s", part)
				}
			}
			var said struct{ Error string }
			if err := json.Unmarshal([]byte(body), &said); len(b.says) > 0 && (err != nil || said.Error == "") {
				t.Errorf("the answer is no JSON with an error: %v", err)
			}
			if t.Failed() {
				t.Logf("it was %s", body)
			}
			checkUntouched(s, before)
		})
	}
	s.generate("tiny", "the light of", 4)
}

// send makes a bad request.
func (s *server) send(b bad) (status int, body string) {
	s.tb.Helper()
	if b.method == "" {
		b.method = http.MethodPost
	}
	if b.path == "" {
		b.path = "/api/prune"
	}
	text, ok := b.body.(string)
	if !ok && b.body != nil {
		j, err := json.Marshal(b.body)
		if err != nil {
			s.tb.Fatal(err)
		}
		text = string(j)
	}
	r, err := http.NewRequest(b.method, "http://"+s.addr+b.path, strings.NewReader(text))
	if err != nil {
		s.tb.Fatal(err)
	}
	r.Host = b.host
	if b.origin != "" {
		r.Header.Set("Origin", b.origin)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.tb.Fatalf("%s %s: %v\n%s", b.method, b.path, err, s.tail())
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		s.tb.Fatal(err)
	}
	return resp.StatusCode, string(out)
}

// checkUntouched demands a server that answers and a store as it was.
func checkUntouched(s *server, before map[string]string) {
	s.tb.Helper()
	if code, body := s.get("/api/tags"); code != http.StatusOK {
		s.tb.Errorf("the server's list is %d: %s", code, body)
	}
	if after := s.contents(); !maps.Equal(before, after) {
		s.tb.Errorf("the store was %v and is %v", before, after)
	}
	for _, path := range filesBelow(s.tb, s.models()) {
		if strings.HasSuffix(path, ".tmp") || strings.HasSuffix(path, ".gguf") || strings.Contains(path, "-partial") {
			s.tb.Errorf("%s was left behind", path)
		}
	}
}

// TestBadCommands does by the command line what cannot be done: status 1, a
// sentence on stderr, nothing on stdout.
func TestBadCommands(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	s.write("photo.jpg", "\xff\xd8\xff\x00")
	s.write("notes.txt", "no\n\x00")
	s.write("chat.jsonl", "{\"text\": \"one\"}\n{\"text\": 2}\n")
	before := s.contents()
	for says, command := range map[string]string{
		`model "nobody" not found`:                 "prune nobody small --drop 2",
		`name "a b" is not a valid`:                "prune tiny a_b --drop 2",
		"give a NAME":                              "prune tiny --drop 2",
		"say how much to remove":                   "prune tiny small",
		"drop is 1;":                               "prune tiny small --drop 100%",
		"drop is 0;":                               "prune tiny small --drop 0%",
		"drop is -0.25":                            "prune tiny small --drop -25%",
		"drop is NaN":                              "prune tiny small --drop NaN%",
		`"lots" is not a number`:                   "prune tiny small --drop lots%",
		`"lots" is not a layer`:                    "prune tiny small --drop lots",
		"there is no layer 8":                      "prune tiny small --drop 6-8",
		"photo.jpg is not UTF-8 text":              "prune tiny small --drop 2 --corpus photo.jpg",
		"chat.jsonl: line 2":                       "profile tiny --corpus chat.jsonl",
		"read the corpus: open missing.txt":        "profile tiny --corpus missing.txt",
		"--add needs the text to add":              "profile tiny --add",
		`no job "0123456789ab"`:                    "jobs join 0123456789ab",
		`unknown flag: --dorp`:                     "prune tiny small --dorp 2",
		`accepts between 1 and 2 arg(s), received`: "prune",
	} {
		t.Run(command, func(t *testing.T) {
			s := s.in(t)
			args := strings.Fields(command)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "_", " ")
			}
			out, errs, err := s.pare(args...)
			if exitCode(err) != 1 || out != "" || !strings.Contains(errs, says) || !strings.HasPrefix(errs, "Error: ") {
				t.Errorf("%v, want exit status 1 and %q\nstdout: %s\nstderr: %s", err, says, out, errs)
			}
			checkUntouched(s, before)
		})
	}
}

// TestDamagedModel prunes models whose GGUF in the store is not what it was.
func TestDamagedModel(t *testing.T) {
	s := startServer(t)
	for name, damage := range map[string]func(path string) error{
		"cut short":   func(path string) error { return os.Truncate(path, 300_000) },
		"header only": func(path string) error { return os.Truncate(path, 100) },
		"empty":       func(path string) error { return os.Truncate(path, 0) },
		"wrong magic": func(path string) error { return overwrite(path, 0, "FUGG") },
		"wrong count": func(path string) error { return overwrite(path, 8, "\xff\xff\xff\xff\xff\xff\xff\x7f") },
		"missing":     os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.createTiny("tiny", tinymodel.Config{Architecture: "llama", Seed: uint64(len(name))})
			blob := s.blob("tiny")
			if err := damage(blob); err != nil {
				t.Fatal(err)
			}
			before := s.contents()
			for _, request := range []fields{pruneWith(nil), rangeOf("2-3")} {
				code, body := s.post("/api/prune", request)
				want := http.StatusUnprocessableEntity
				if name == "missing" {
					want = http.StatusNotFound
				}
				if code != want || !strings.Contains(body, "tiny") {
					t.Errorf("status %d, want %d: %s", code, want, body)
				}
			}
			checkUntouched(s, before)
			os.Remove(blob) // the next model may be the same
		})
	}
}

func overwrite(path string, at int64, with string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte(with), at)
	return err
}

// TestNoPlugin starts servers that cannot start their plugin: all of Ollama
// works, and Pare's routes say what is wrong.
func TestNoPlugin(t *testing.T) {
	home := t.TempDir()
	s := startServerIn(t, home)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	before := s.contents()
	s.stop()
	sum, err := fileSum("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ plugin, sum, says string }{
		"missing":        {"/nonexistent", sum, "PARE_PLUGIN"},
		"not a plugin":   {"/bin/true", sum, "/bin/true"},
		"another plugin": {"", sum, "SHA-256 differs"},
		"no checksum":    {"", "unknown", "PARE_PLUGIN_SHA256"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServerIn(t, home, "PARE_PLUGIN="+c.plugin, "PARE_PLUGIN_SHA256="+c.sum)
			for path, request := range map[string]fields{
				"/api/prune":         pruneWith(nil),
				"/api/prune/profile": {"model": "tiny"},
				"/api/prune/plan":    {"model": "tiny", "layers": 2},
			} {
				code, body := s.post(path, request)
				if code != http.StatusServiceUnavailable || !strings.Contains(body, c.says) {
					t.Errorf("%s: status %d, want 503 and %q: %s", path, code, c.says, body)
				}
			}
			_, errs, err := s.pare("prune", "tiny", "small", "--drop", "2")
			if exitCode(err) != 1 || !strings.Contains(errs, "start plugin") {
				t.Errorf("the command: %v: %s", err, errs)
			}
			checkUntouched(s, before)
			s.generate("tiny", "the light of", 4)
		})
	}
}
