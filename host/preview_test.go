package host

import (
	"bufio"
	"context"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/types/model"

	"pare/host/client"
	"pare/host/score"
	"pare/plugin"
)

// TestMain is the scoring process, too, when the pool starts it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == score.Verb {
		play(gob.NewDecoder(os.Stdin), gob.NewEncoder(os.Stdout))
		return
	}
	os.Exit(m.Run())
}

// playedVocabulary is how many tokens the played models have: one for each byte
// of a text, and 256 to begin with.
const playedVocabulary = 257

// play answers to a prompt with what it was asked for, in two pieces: the request
// in JSON. One that begins with "endless" is answered until that is stopped, one
// that begins with "broken" fails after a piece.
func play(requests *gob.Decoder, replies *gob.Encoder) {
	for {
		var r score.Request
		if requests.Decode(&r) != nil {
			return
		}
		if r.Cancel {
			continue
		}
		last := score.Reply{Done: true}
		switch {
		case r.Tokenize != nil:
			for _, text := range r.Tokenize.Texts {
				replies.Encode(score.Reply{Tokens: [][]int32{playedTokens(text)}})
			}
		case r.Transcribe != nil:
			playTranscripts(r.Transcribe, replies)
		case r.Observe != nil:
			playObservations(r.Observe, replies)
		case r.Score != nil:
			last.Failure = playScores(r.Score, replies)
		case r.Answers != nil:
			playAnswers(r.Answers, replies)
		case r.Generate != nil && strings.HasPrefix(r.Generate.Prompt, "endless"):
			replies.Encode(score.Reply{Text: "on and on"})
			var stop score.Request
			requests.Decode(&stop)
			last.Failure = score.Fail(context.Canceled)
		case r.Generate != nil && strings.HasPrefix(r.Generate.Prompt, "broken"):
			replies.Encode(score.Reply{Text: "well"})
			last.Failure = score.Fail(plugin.Errorf(plugin.Refused, "no layer is found to leave out"))
		case r.Generate != nil:
			b, _ := json.Marshal(r.Generate)
			replies.Encode(score.Reply{Text: string(b[:1])})
			replies.Encode(score.Reply{Text: string(b[1:])})
			replies.Encode(score.Reply{Answer: &plugin.Answer{Text: string(b), Tokens: 2, PromptTokens: 9, Seconds: 0.5, Ended: true}})
		}
		replies.Encode(last)
	}
}

func playedTokens(text string) []int32 {
	out := []int32{playedVocabulary - 1}
	for i := range len(text) {
		out = append(out, int32(text[i]))
	}
	return out
}

// playScores says of a token t that its log-probability is -t/100, and a nat less
// for each layer left out.
func playScores(s *score.Score, replies *gob.Encoder) *score.Failure {
	for i, q := range s.Sequences {
		for v, m := range s.Variants {
			out := plugin.Score{Sequence: i, Variant: v}
			for _, t := range q.Tokens[q.From:] {
				if t >= playedVocabulary {
					return score.Fail(plugin.Errorf(plugin.Invalid, "token %d is unknown", t))
				}
				out.LogProb = append(out.LogProb, -float32(t)/100-float32(len(m.Bypass)))
				out.KL, out.Agree = append(out.KL, float32(len(m.Bypass))), append(out.Agree, len(m.Bypass) == 0)
			}
			replies.Encode(score.Reply{Score: &out})
		}
	}
	return nil
}

// A planner refuses the last layer alone.
type planner struct {
	plugin.Pruner
	last int
}

func (p planner) Plan(_ context.Context, r plugin.PlanRequest) (plugin.Plan, error) {
	if slices.Contains(r.Selection.Remove, p.last) {
		return plugin.Plan{}, plugin.Errorf(plugin.Refused, "layer %d has to stay", p.last)
	}
	return plugin.Plan{Remove: r.Selection.Remove, Layers: p.last + 1}, nil
}

// testRoutes is a server of the model "parent", of eight layers, with a template
// that shows what it is given.
func testRoutes(t *testing.T) *httptest.Server {
	t.Helper()
	folder := emptyStore(t)
	putModel(t, "parent", tiny(t, 8, 1))
	config := putBlob(t, mediaConfig, []byte(`{"model_format":"gguf","model_family":"llama"}`))
	layers := append(slices.Clone(mustLookUp(t, "parent").manifest.Layers[:1]),
		putBlob(t, mediaTemplate, []byte(`{{ if .System }}<{{ .System }}>{{ end }}[{{ .Prompt }}]{{ .Response }}`)),
		putBlob(t, mediaSystem, []byte("Be brief.")),
		putBlob(t, mediaParams, []byte(`{"temperature":0.5,"stop":["[","<"],"num_ctx":64}`)))
	if err := writeManifest(model.ParseName("parent"), config, layers); err != nil {
		t.Fatal(err)
	}
	s := &Server{jobs: reopen(t, folder, planner{last: 7}), scorer: score.NewPool(score.Config{})}
	t.Cleanup(s.scorer.Close)
	server := httptest.NewServer(s.routes("127.0.0.1"))
	t.Cleanup(server.Close)
	return server
}

func mustLookUp(t *testing.T, name string) stored {
	t.Helper()
	s, err := lookUp("model", name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask posts JSON and returns the status and the lines of the answer.
func ask(t *testing.T, server *httptest.Server, path, body string) (int, []string) {
	t.Helper()
	resp, err := http.Post(server.URL+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.Split(strings.TrimSpace(string(b)), "\n")
}

// generation has the played process tell what it was asked for.
func generation(t *testing.T, server *httptest.Server, body string) (g score.Generation) {
	t.Helper()
	code, lines := ask(t, server, "/api/prune/preview", body)
	var text strings.Builder
	var reply client.PreviewReply
	for _, l := range lines {
		reply = client.PreviewReply{}
		if err := json.Unmarshal([]byte(l), &reply); err != nil {
			t.Fatal(err)
		}
		text.WriteString(reply.Response)
	}
	if code != http.StatusOK || !reply.Done || reply.DoneReason != "stop" || reply.EvalCount != 2 || reply.PromptEvalCount != 9 ||
		reply.EvalDuration != 5e8 || reply.Model != "parent" || reply.CreatedAt == "" {
		t.Fatalf("status %d, %+v", code, reply)
	}
	if err := json.Unmarshal([]byte(text.String()), &g); err != nil {
		t.Fatalf("%v: %q", err, text.String())
	}
	return g
}

func TestPreviewAsksWhatTheModelWouldBeAsked(t *testing.T) {
	server := testRoutes(t)
	for body, want := range map[string]string{
		`{"model":"parent","bypass":"2-4","prompt":"Hi"}`:                               "<Be brief.>[Hi]",
		`{"model":"parent","prompt":"Hi","system":"Shout."}`:                            "<Shout.>[Hi]",
		`{"model":"parent","prompt":"[Hi","raw":true,"stream":false}`:                   "[Hi",
		`{"model":"parent","bypass":"2-4","messages":[{"role":"user","content":"Hi"}]}`: "<Be brief.>[Hi]",
		`{"model":"parent","messages":[{"role":"system","content":"A"},{"role":"user","content":"B"},{"role":"assistant","content":"C"},{"role":"user","content":"D"}]}`: "<A>[B]C[D]",
	} {
		g := generation(t, server, body)
		if g.Prompt != want {
			t.Errorf("%s: the prompt is %q, want %q", body, g.Prompt, want)
		}
		if left := strings.Contains(body, "2-4"); left != slices.Equal(g.Model.Bypass, []int{2, 3, 4}) {
			t.Errorf("%s: layers %v are left out", body, g.Model.Bypass)
		}
		if chat := strings.Contains(body, "messages"); g.Continue != chat {
			t.Errorf("%s: goes on from what was said before: %v", body, g.Continue)
		}
	}
}

func TestPreviewTakesOptionsAsOllamaDoes(t *testing.T) {
	server := testRoutes(t)
	g := generation(t, server, `{"model":"parent","prompt":"Hi","raw":true}`)
	if s := g.Sampling; s.Temperature != 0.5 || s.TopK != 40 || s.RepeatPenalty != 1.1 || s.Seed != 1<<32-1 || len(g.Stop) != 2 {
		t.Errorf("without options: %+v", g)
	}
	if g.MaxTokens != 64-3 {
		t.Errorf("%d tokens fit behind 3 in a context of 64, not %d", 64-3, g.MaxTokens)
	}
	g = generation(t, server, `{"model":"parent","prompt":"Hi","raw":true,"options":{"temperature":0,"seed":7,"stop":["."],
		"num_predict":5,"num_ctx":7,"repeat_penalty":1,"top_p":0,"num_thread":3,"min_p":0.25}}`)
	if s := g.Sampling; s.Temperature != 0 || s.Seed != 7 || s.RepeatPenalty != 1 || s.MinP != 0.25 || s.TopP <= 0 || s.TopP > 1e-9 {
		t.Errorf("with options: %+v", g)
	}
	if !slices.Equal(g.Stop, []string{"."}) || g.MaxTokens != 4 || g.Model.Threads != 3 {
		t.Errorf("with options: %+v", g)
	}
	if g = generation(t, server, `{"model":"parent","prompt":"Hi","raw":true,"options":{"num_predict":-1,"num_ctx":0}}`); g.MaxTokens != 0 {
		t.Errorf("without an end it is %d tokens", g.MaxTokens)
	}
}

// TestOllamasOwnEngineKnowsNoPenalties compares what is made of the same options.
func TestOllamasOwnEngineKnowsNoPenalties(t *testing.T) {
	o, err := withOptions(api.DefaultOptions(), map[string]any{"presence_penalty": 1.5, "typical_p": 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if s := sampling(head{architecture: "llama"}, o); s.RepeatPenalty != 1.1 || s.PresencePenalty != 1.5 || s.TypicalP != 0.5 || s.RepeatLastN != 64 {
		t.Errorf("in llama.cpp: %+v", s)
	}
	if s := sampling(head{architecture: "qwen3"}, o); s.RepeatPenalty != 0 || s.PresencePenalty != 0 || s.TypicalP != 0 || s.TopK != 40 {
		t.Errorf("in Ollama's own engine: %+v", s)
	}
}

func TestPreviewRefuses(t *testing.T) {
	server := testRoutes(t)
	for _, c := range []struct {
		body, want string
		code       int
	}{
		{`{"model":"parent"}`, "a prompt or messages", 400},
		{`{"model":"parent","prompt":"a","messages":[{"role":"user","content":"b"}]}`, "one of the two", 400},
		{`{"model":"parent","messages":[{"role":"user","content":"b"}],"raw":true}`, "raw is for a prompt", 400},
		{`{"model":"parent","messages":[{"role":"user","content":"b"}],"system":"c"}`, "the role system", 400},
		{`{"model":"parent","prompt":"a","system":"b","raw":true}`, "taken as it is", 400},
		{`{"model":"parent","messages":[{"role":"users","content":"b"}]}`, `"users"`, 400},
		{`{"model":"parent","prompt":"a","images":["iVBOR"]}`, "leave images out", 400},
		{`{"model":"parent","messages":[{"role":"user","content":"b","images":["iVBOR"]}]}`, "leave images out", 400},
		{`{"model":"parent","prompt":3}`, "prompt is a number; it has to be a string", 400},
		{`{"model":"parent","messages":"b"}`, "messages is a string; it has to be a list", 400},
		{`{"model":"parent","prompt":"a","options":{"temprature":0}}`, `"temprature"`, 400},
		{`{"model":"parent","prompt":"a","options":{"seed":"x"}}`, `"seed" must be of type integer`, 400},
		{`{"model":"parent","prompt":"a","options":{"num_ctx":4}}`, "num_ctx takes 4", 400},
		{fmt.Sprintf(`{"model":"parent","prompt":%q,"options":{"num_ctx":9000}}`, strings.Repeat("a", 2048)), "the model takes 2048", 400},
		{`{"model":"parent","prompt":"a","bypass":"4-2"}`, "bypass: range", 400},
		{`{"model":"parent","prompt":"a","bypass":"6-7"}`, "layer 7 has to stay", 422},
		{`{"model":"nobody","prompt":"a"}`, "not found", 404},
	} {
		code, lines := ask(t, server, "/api/prune/preview", c.body)
		if code != c.code || !strings.Contains(errorIn(t, lines), c.want) {
			t.Errorf("%s: status %d, want %d: %v, want %q", c.body, code, c.code, lines, c.want)
		}
	}
}

func errorIn(t *testing.T, lines []string) string {
	t.Helper()
	var said client.PreviewReply
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &said); err != nil {
		t.Fatalf("%v: %q", err, lines)
	}
	return said.Error
}

func TestAPreviewThatFails(t *testing.T) {
	server := testRoutes(t)
	const body = `{"model":"parent","prompt":"broken","raw":true,"stream":%t}`
	code, lines := ask(t, server, "/api/prune/preview", fmt.Sprintf(body, true))
	if code != http.StatusOK || len(lines) != 2 || !strings.Contains(lines[1], `"code":422`) || errorIn(t, lines) != "no layer is found to leave out" {
		t.Errorf("after the first line: status %d, %v", code, lines)
	}
	code, lines = ask(t, server, "/api/prune/preview", fmt.Sprintf(body, false))
	if code != http.StatusUnprocessableEntity || len(lines) != 1 || errorIn(t, lines) != "no layer is found to leave out" {
		t.Errorf("before the first line: status %d, %v", code, lines)
	}
}

// TestAPreviewEndsWithItsClient would not end if the answer went on: there is one
// scoring process, and it is busy.
func TestAPreviewEndsWithItsClient(t *testing.T) {
	server := testRoutes(t)
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/api/prune/preview",
		strings.NewReader(`{"model":"parent","prompt":"endless","raw":true}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || !strings.Contains(line, "on and on") {
		t.Fatalf("%q, %v", line, err)
	}
	leave()
	generation(t, server, `{"model":"parent","prompt":"Hi"}`)
}
