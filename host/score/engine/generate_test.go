package engine

import (
	"bytes"
	"context"
	"encoding/gob"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ollama/ollama/fs/gguf"

	"pare/host/score"
	"pare/integration/tinymodel"
	"pare/plugin"
)

// answer opens the model and has it answer; pieces are what it said, in order.
func answer(t *testing.T, e *engine, g score.Generation) (a plugin.Answer, pieces []string) {
	t.Helper()
	g.Model.Threads = 1
	if _, err := e.open([]score.Model{g.Model}, 0, false); err != nil {
		t.Fatal(err)
	}
	a, err := e.generate(context.Background(), &g, func(s string) error {
		pieces = append(pieces, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, pieces
}

// TestMostLikely follows the most likely tokens by scoring them.
func TestMostLikely(t *testing.T) {
	path, e := tiny(t, "llama", 1), newTestEngine(t)
	const prompt = "the light of two bodies"
	a, pieces := answer(t, e, score.Generation{Model: score.Model{Path: path}, Prompt: prompt, MaxTokens: 12})
	if a.Tokens != 12 || a.Ended || a.PromptTokens == 0 || a.Text != strings.Join(pieces, "") {
		t.Fatalf("answer %+v in pieces %q", a, pieces)
	}
	handle := e.models[path].handle
	tokens, err := tokensOf(handle, prompt, true)
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for range 12 {
		d := distributions(t, path, tokens)
		next := best(d[len(d)-1])
		text = append(text, handle.TokenToPiece(next)...)
		tokens = append(tokens, int32(next))
	}
	if want := strings.ToValidUTF8(string(text), "\uFFFD"); a.Text != want {
		t.Errorf("answer %q, want %q", a.Text, want)
	}
}

// TestSpeechless has no token follow where none has a probability.
func TestSpeechless(t *testing.T) {
	m, err := tinymodel.New(tinymodel.Config{Architecture: "llama", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	path, e := write(t, spoil(t, m)), newTestEngine(t)
	a, pieces := answer(t, e, score.Generation{Model: score.Model{Path: path}, Prompt: "the light of two bodies", MaxTokens: 12})
	if a.Tokens != 0 || a.Ended || len(pieces) != 0 || a.PromptTokens == 0 {
		t.Errorf("answer %+v in pieces %q by a model that computes no numbers", a, pieces)
	}
}

// spoil makes the norm before a model's output a list of NaN.
func spoil(t *testing.T, model []byte) []byte {
	t.Helper()
	path := write(t, model)
	g, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	info, r, err := g.TensorReader("output_norm.weight")
	if err != nil {
		t.Fatal(err)
	}
	weights, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if info.Type != gguf.TensorTypeF32 || bytes.Count(model, weights) != 1 {
		t.Fatalf("the norm is of type %d, and is found %d times", info.Type, bytes.Count(model, weights))
	}
	return bytes.Replace(model, weights, bytes.Repeat([]byte{0, 0, 0xC0, 0x7F}, len(weights)/4), 1)
}

// TestContinue goes on from an answer and computes only what is new.
func TestContinue(t *testing.T) {
	path, e := tiny(t, "llama", 1), newTestEngine(t)
	g := score.Generation{Model: score.Model{Path: path, Bypass: []int{2}}, Prompt: "the light of two bodies", MaxTokens: 8, Continue: true}
	first, _ := answer(t, e, g)
	g.Prompt += " is red"
	second, _ := answer(t, e, g)
	if second.PromptTokens >= first.PromptTokens {
		t.Errorf("%d tokens computed of a longer prompt, after %d of its beginning", second.PromptTokens, first.PromptTokens)
	}
	g.Continue = false
	if again, _ := answer(t, e, g); again.Text != second.Text {
		t.Errorf("answer %q, and %q from an empty context", second.Text, again.Text)
	}
	g.Continue, g.Model.Bypass = true, nil
	if other, _ := answer(t, e, g); other.PromptTokens <= first.PromptTokens {
		t.Error("what was computed without a layer was taken for that of the whole model")
	}
}

func TestStop(t *testing.T) {
	for _, c := range []struct {
		stops  []string
		tokens []string
		want   string // pieces, with what the end gives
	}{
		{nil, []string{"a", "b"}, "a|b"},
		{[]string{"END"}, []string{"aE", "N", "D", "x"}, "a"},
		{[]string{"END"}, []string{"aE", "N", "x"}, "a|ENx"},
		{[]string{"END", "x"}, []string{"ENx", "y"}, "EN"},
		{[]string{"END"}, []string{"aEN"}, "a|EN"},
		{[]string{"é"}, []string{"a\xc3", "\xa9b"}, "a"},
		{nil, []string{"a\xe2\x82", "\xac"}, "a|€"},
		{nil, []string{"a\xff", "b\xc3"}, "a\uFFFD|b|\uFFFD"},
		{[]string{""}, []string{"a"}, "a"},
	} {
		var got []string
		v := voice{stops: c.stops, say: func(s string) error {
			got = append(got, s)
			return nil
		}}
		stopped := false
		for _, token := range c.tokens {
			if stopped, _ = v.add(token); stopped {
				break
			}
		}
		if !stopped {
			v.end()
		}
		if s := strings.Join(got, "|"); s != c.want || v.said.String() != strings.ReplaceAll(c.want, "|", "") {
			t.Errorf("tokens %q, stops %q: %q said, want %q", c.tokens, c.stops, s, c.want)
		}
		if i := slices.IndexFunc(got, func(s string) bool { return !utf8.ValidString(s) }); i >= 0 {
			t.Errorf("tokens %q: half a character in %q", c.tokens, got[i])
		}
	}
}

func TestFootprint(t *testing.T) {
	layers := 0
	f, err := newTestEngine(t).footprint(context.Background(), tiny(t, "llama", 1), func(o score.Opened) error {
		layers = o.Layers
		return nil
	})
	if layers != 9 {
		t.Errorf("it was opened with %d layers, want 9", layers)
	}
	if err != nil {
		t.Fatal(err)
	}
	// 8 layers with 2 heads of 16 keys and 16 values, of 2 bytes each.
	if f.KVPerToken != 8*2*(16+16)*2 || f.ContextTokens != 512 || f.Resident < 1<<20 {
		t.Errorf("footprint %+v", f)
	}
}

// A line is the server's end of a serving engine.
type line struct {
	t        *testing.T
	requests *gob.Encoder
	replies  *gob.Decoder
	hangUp   func()
	ended    chan error
}

func dial(t *testing.T) *line {
	in, toEngine := io.Pipe()
	fromEngine, out := io.Pipe()
	l := &line{t: t, requests: gob.NewEncoder(toEngine), replies: gob.NewDecoder(fromEngine), ended: make(chan error, 1)}
	l.hangUp = func() { toEngine.Close() }
	go func() {
		l.ended <- Serve(t.Context(), in, out)
		out.Close()
	}()
	return l
}

// ask sends a request and returns the replies up to the last.
func (l *line) ask(r score.Request, each func(score.Reply)) (last score.Reply) {
	l.t.Helper()
	if err := l.requests.Encode(r); err != nil {
		l.t.Fatal(err)
	}
	for {
		var reply score.Reply
		if err := l.replies.Decode(&reply); err != nil {
			l.t.Fatal(err)
		}
		if reply.Done {
			return reply
		}
		each(reply)
	}
}

// TestServe asks over a line: an error leaves the engine alive, a cancel stops
// what runs, one that comes late harms nothing, and the end of the line is the end.
func TestServe(t *testing.T) {
	l, models := dial(t), []score.Model{{Path: tiny(t, "llama", 1), Threads: 1}}
	ignore := func(score.Reply) {}
	many := &score.Score{Variants: models}
	for i := range 2000 {
		many.Sequences = append(many.Sequences, random(uint64(i), 512))
	}
	if last := l.ask(score.Request{ID: 1, Score: many}, ignore); last.Failure == nil || !strings.Contains(last.Failure.Sentence, "not open") {
		t.Errorf("before a model is open: %+v", last.Failure)
	}
	var opened *score.Opened
	if last := l.ask(score.Request{ID: 2, Open: &score.Open{Models: models, Context: 512}}, func(r score.Reply) { opened = r.Opened }); last.Failure != nil || opened == nil || opened.Layers != 9 {
		t.Fatalf("opened %+v, failure %+v", opened, last.Failure)
	}
	scores := 0
	last := l.ask(score.Request{ID: 3, Score: many}, func(score.Reply) {
		if scores++; scores == 1 {
			l.requests.Encode(score.Request{ID: 3, Cancel: true})
		}
	})
	if last.Failure == nil || !last.Failure.Canceled || scores > 100 {
		t.Errorf("cancelled after a score: %d scores, failure %+v", scores, last.Failure)
	}
	l.requests.Encode(score.Request{ID: 3, Cancel: true})
	var tokens [][]int32
	last = l.ask(score.Request{ID: 4, Tokenize: &score.Tokenize{Path: models[0].Path, Texts: []string{"the light", ""}}}, func(r score.Reply) { tokens = r.Tokens })
	if last.Failure != nil || len(tokens) != 2 || len(tokens[0]) < 2 || len(tokens[1]) != 1 {
		t.Errorf("tokens %v, failure %+v", tokens, last.Failure)
	}
	l.hangUp()
	select {
	case err := <-l.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it serves on though the line is dead")
	}
}
