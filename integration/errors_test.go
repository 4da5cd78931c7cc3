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

// pruneWith is a request that would work, changed.
func pruneWith(changes fields) fields {
	return changed(fields{"model": "tiny", "name": "small", "layers": 2, "corpus": fields{"name": "tales", "text": tales}}, changes)
}

// changed is a request with other fields, and without those that are nil.
func changed(f, changes fields) fields {
	for k, v := range changes {
		if f[k] = v; v == nil {
			delete(f, k)
		}
	}
	return f
}

// evaluateWith is a request to judge a model, changed.
func evaluateWith(changes fields) fields {
	return changed(fields{"model": "tiny", "stream": false, "corpus": fields{"name": "tales", "text": tales}}, changes)
}

// sweepWith is a sweep, changed.
func sweepWith(changes fields) fields {
	return changed(fields{"model": "tiny", "stream": false, "corpus": fields{"name": "tales", "text": tales}, "criteria": []string{"deepest"}}, changes)
}

// judgedBy is a prune request with a way to judge the result.
func judgedBy(evaluate fields) fields {
	return pruneWith(fields{"criterion": "angular", "evaluate": evaluate, "stream": false})
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

	{name: "nothing to merge", path: "/api/prune/merge", body: fields{"model": "tiny", "name": "small"}, status: 422, says: []string{"has no adapter to merge"}},
	{name: "unknown field of a merge", path: "/api/prune/merge", body: fields{"model": "tiny", "to": "small"}, status: 400, says: []string{`unknown field \"to\"`}},

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

// badJudging are requests to judge a model, and reports that are not there.
var badJudging = []bad{
	{name: "level", path: evaluatePath, body: evaluateWith(fields{"level": "thorough"}), status: 400, says: []string{`no level \"thorough\"`, "quick or full"}},
	{name: "level none", path: evaluatePath, body: evaluateWith(fields{"level": "none"}), status: 400, says: []string{"level", "quick or full"}},
	{name: "unknown model to judge", path: evaluatePath, body: evaluateWith(fields{"model": "nobody"}), status: 404, says: []string{"not found"}},
	{name: "unknown other", path: evaluatePath, body: evaluateWith(fields{"other": "nobody"}), status: 404, says: []string{`model \"nobody\" not found`}},
	{name: "other vocabulary", path: evaluatePath, body: evaluateWith(fields{"other": "qwen"}), status: 400, says: []string{"different vocabularies"}},
	{name: "other and bypass", path: evaluatePath, body: evaluateWith(fields{"other": "gemma", "bypass": "2"}), status: 400, says: []string{"not both"}},
	{name: "bypass twice", path: evaluatePath, body: evaluateWith(fields{"bypass": "1-3,2"}), status: 400, says: []string{"bypass", "twice"}},
	{name: "bypass of nothing", path: evaluatePath, body: evaluateWith(fields{"bypass": "1-"}), status: 400, says: []string{"bypass"}},
	{name: "bypass of all", path: evaluatePath, body: evaluateWith(fields{"bypass": "0-7"}), status: 400, says: []string{"all 8 layers"}},
	{name: "bypass outside", path: evaluatePath, body: evaluateWith(fields{"bypass": "7-8"}), status: 400, says: []string{"no layer 8"}},
	{name: "bypass of kinds", path: evaluatePath, body: evaluateWith(fields{"model": "gemma", "bypass": "3"}), status: 422, says: []string{"every 6th layer"}},
	{name: "question", path: evaluatePath, body: evaluateWith(fields{"tasks": []fields{{"name": "riddles", "text": riddles + "{\"context\": \"A\"}\n"}}}), status: 400, says: []string{"riddles", "line 3"}},
	{name: "answer", path: evaluatePath, body: evaluateWith(fields{"tasks": []fields{{"text": `{"context": "A", "choices": ["b", "c"], "answer": 2}`}}}), status: 400, says: []string{"line 1"}},
	{name: "no questions", path: evaluatePath, body: evaluateWith(fields{"tasks": []fields{{"name": "riddles", "text": "\n"}}}), status: 400, says: []string{"no questions"}},
	{name: "empty questions", path: evaluatePath, body: evaluateWith(fields{"tasks": []fields{{}}}), status: 400, says: []string{"tasks 1: it is empty"}},
	{name: "nothing to score", path: evaluatePath, body: evaluateWith(fields{"corpus": fields{"name": "x"}}), status: 400, says: []string{"text to score: it is empty"}},
	{name: "blank to score", path: evaluatePath, body: evaluateWith(fields{"corpus": fields{"name": "x", "text": " \n"}}), status: 400, says: []string{"x", "no text"}},
	{name: "too short to score", path: evaluatePath, body: evaluateWith(fields{"model": "qwen", "corpus": fields{"text": "a"}}), status: 400, says: []string{"too short to be scored"}},
	{name: "threshold below 0", path: evaluatePath, body: evaluateWith(fields{"thresholds": fields{"keep_kl": -1}}), status: 400, says: []string{"keep_kl (--keep-kl) is -1"}},
	{name: "threshold above 1", path: evaluatePath, body: evaluateWith(fields{"thresholds": fields{"keep_loss": 2}}), status: 400, says: []string{"keep_loss (--keep-loss) is 2"}},
	{name: "thresholds crossed", path: evaluatePath, body: evaluateWith(fields{"thresholds": fields{"keep_kl": 2}}), status: 400, says: []string{"keep_kl (--keep-kl) 2 is above repair_kl (--worth-kl) 1"}},
	{name: "unknown field to judge by", path: evaluatePath, body: evaluateWith(fields{"levels": "full"}), status: 400, says: []string{`unknown field \"levels\"`}},

	{name: "prune: level", body: judgedBy(fields{"level": "thorough"}), status: 400, says: []string{"no level"}},
	{name: "prune: question", body: judgedBy(fields{"tasks": []fields{{"name": "riddles", "text": "{\"context\""}}}), status: 400, says: []string{"riddles", "line 1"}},
	{name: "prune: threshold", body: judgedBy(fields{"thresholds": fields{"repair_loss": -0.1}}), status: 400, says: []string{"repair_loss (--worth-loss) is -0.1"}},
	{name: "prune: scored text is the traced", body: judgedBy(fields{"corpus": fields{"name": "tales", "text": tales}}), status: 400, says: []string{"would flatter"}},

	{name: "sweep: criterion", path: sweepPath, body: sweepWith(fields{"criteria": []string{"taste"}}), status: 400, says: []string{`no criterion \"taste\"`, "angular"}},
	{name: "sweep: rate 0", path: sweepPath, body: sweepWith(fields{"rates": []float64{0.1, 0}}), status: 400, says: []string{"rate 0 is out of range"}},
	{name: "sweep: rate 1", path: sweepPath, body: sweepWith(fields{"rates": []float64{1}}), status: 400, says: []string{"rate 1 is out of range"}},
	{name: "sweep: rate NaN", path: sweepPath, body: sweepWith(fields{"rates": []string{"NaN"}}), status: 400, says: []string{"read the request's JSON", "rates"}},
	{name: "sweep: seeds -1", path: sweepPath, body: sweepWith(fields{"seeds": -1}), status: 400, says: []string{"seeds is -1"}},
	{name: "sweep: seeds 1000", path: sweepPath, body: sweepWith(fields{"seeds": 1000}), status: 400, says: []string{"1000 seeds", "20"}},
	{name: "sweep: tolerance", path: sweepPath, body: sweepWith(fields{"tolerance": -0.1}), status: 400, says: []string{"tolerance -0.1"}},
	{name: "sweep: all protected", path: sweepPath, body: sweepWith(fields{"protect": "0-7"}), status: 400, says: []string{"protect"}},
	{name: "sweep: tasks", path: sweepPath, body: sweepWith(fields{"evaluate": fields{"tasks": []fields{{"text": riddles}}}}), status: 400, says: []string{"a sweep scores text alone"}},
	{name: "sweep: level", path: sweepPath, body: sweepWith(fields{"evaluate": fields{"level": "none"}}), status: 400, says: []string{"level"}},
	{name: "sweep: no allowed cut", path: sweepPath, body: sweepWith(fields{"model": "gemma", "rates": []float64{0.1}}), status: 422, says: []string{"no cut of this model is possible"}},
	{name: "sweep: unknown model", path: sweepPath, body: sweepWith(fields{"model": "nobody"}), status: 404, says: []string{"not found"}},

	{name: "report of no job", method: "GET", path: "/api/prune/jobs/0123456789ab/report", status: 404, says: []string{"no job"}},
	{name: "report of what is no job", method: "GET", path: "/api/prune/jobs/..%2f..%2f/report.json", status: 404},
	{name: "report of a profile", method: "GET", path: "/api/prune/jobs/PROFILE/report", status: 404, says: []string{"measured a profile"}},
	{name: "report of another form", method: "GET", path: "/api/prune/jobs/PROFILE/report.pdf", status: 404, says: []string{".md", ".html"}},
	{name: "report of another name", method: "GET", path: "/api/prune/jobs/PROFILE/raport.json", status: 404, says: []string{"ask for report"}},
	{name: "report to be changed", method: "PUT", path: "/api/prune/jobs/PROFILE/report", status: 405},
}

const (
	evaluatePath = "/api/prune/evaluate"
	sweepPath    = "/api/prune/sweep"
)

// TestBadRequests sends what cannot be done. Each is refused with a status and a
// sentence, and leaves the store as it was and the server at work.
func TestBadRequests(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	s.createTiny("untraced", tinymodel.Config{Architecture: "llama", Seed: 1})
	s.createTiny("gemma", tinymodel.Config{Architecture: "gemma3"})
	s.createTiny("qwen", tinymodel.Config{Architecture: "qwen2"})
	s.write("more.txt", more)
	s.must("profile", "qwen", "--corpus", "more.txt")
	profile := s.job("profile").ID
	before := s.contents()
	for _, b := range append(badRequests, badJudging...) {
		t.Run(b.name, func(t *testing.T) {
			s := s.in(t)
			b.path = strings.Replace(b.path, "PROFILE", profile, 1)
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
	s.write("riddles.jsonl", riddles+"{}\n")
	before := s.contents()
	for says, command := range map[string]string{
		"there is no level":                      "eval tiny --level thorough",
		"not both":                               "eval tiny tiny --without 2",
		`model "nobody" not found;`:              "eval tiny nobody",
		"all 8 layers":                           "eval tiny --without 0-7",
		"riddles.jsonl: line 3":                  "eval tiny --tasks riddles.jsonl",
		"open none.txt":                          "eval tiny --score none.txt",
		"keep_kl (--keep-kl) is -1":              "eval tiny --keep-kl -1",
		"--output report.pdf: the name must end": "eval tiny -o report.pdf",
		"evaluate: there is no level":            "prune tiny small --drop 2 --evaluate thorough",
		"read questions riddles.jsonl: line 3":   "prune tiny small --drop 2 --tasks riddles.jsonl",
		"--drop 50%..10%: give shares between 0 and 100%, the smaller first": "sweep tiny --drop 50%..10%",
		`"lots" is not a share`:                    "sweep tiny --drop lots",
		`"NaN" is not a share`:                     "sweep tiny --drop NaN",
		"rate 1 is out of range":                   "sweep tiny --drop 100%",
		`no criterion "taste"`:                     "sweep tiny --criteria taste",
		"a sweep measures something":               "sweep tiny --level none",
		"seeds is -1":                              "sweep tiny --seeds -1",
		"21 seeds are more":                        "sweep tiny --seeds 21",
		"--max-ppl-rise":                           "sweep tiny --max-ppl-rise much",
		"tolerance -0.1":                           "sweep tiny --max-ppl-rise -10%",
		`unknown flag: --tasks`:                    "sweep tiny --tasks riddles.jsonl",
		`no job "0123456789ac"`:                    "jobs report 0123456789ac",
		`no job "0123456789ad"`:                    "jobs report 0123456789ad -o report.html",
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
				evaluatePath:         {"model": "tiny"},
				sweepPath:            {"model": "tiny"},
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
