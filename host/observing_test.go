package host

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/ollama/ollama/template"

	"pare/host/score"
	"pare/plugin"
)

// playTranscripts marks the bytes of the answers.
func playTranscripts(r *score.Transcribe, replies *gob.Encoder) {
	for _, c := range r.Chats {
		t := plugin.Transcript{Tokens: playedTokens(c.Text)}
		t.Answer = make([]bool, len(t.Tokens))
		for _, a := range c.Answers {
			for i := a[0]; i < a[1]; i++ {
				t.Answer[i+1] = true
			}
		}
		replies.Encode(score.Reply{Transcripts: []plugin.Transcript{t}})
	}
}

// playObservations says that a sequence's tokens are the most likely ones, and dies
// of every sequence whose first token is 13, the first time behind its observation
// and from then on before it.
func playObservations(r *score.Observe, replies *gob.Encoder) {
	for i, s := range r.Sequences {
		unlucky := s[0] == 13 && len(r.Points) > 0
		mark := os.Getenv("PARE_TEST_DIED")
		if _, err := os.Stat(mark); unlucky && err == nil {
			os.Exit(3)
		}
		replies.Encode(score.Reply{Observation: score.Pack(plugin.Observation{Sequence: r.First + i, TopTokens: s})})
		if unlucky {
			os.WriteFile(mark, nil, 0o600)
			os.Exit(3)
		}
	}
}

// observer lends a tiny model, with a template, and a played scoring process.
func observer(t *testing.T, layout string) *lent {
	t.Helper()
	emptyStore(t)
	s := putModel(t, "tiny", tiny(t, 8, 1), putBlob(t, mediaTemplate, []byte(layout)), putBlob(t, mediaConfig, []byte("{}")))
	pool := score.NewPool(score.Config{Executable: os.Args[0], Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(pool.Close)
	return &lent{scorer: pool, folder: t.TempDir(), digest: s.gguf.Digest, model: "tiny"}
}

// TestObserveTellsEachOnce has the scoring process die behind an observation: none is
// told twice and none is left out.
func TestObserveTellsEachOnce(t *testing.T) {
	t.Setenv("PARE_TEST_DIED", t.TempDir()+"/died")
	l := observer(t, "{{ .Prompt }}")
	r := plugin.ObserveRequest{Model: "tiny", Sequences: [][]int32{{1, 2}, {3}, {13}, {4}, {5, 6}}, Points: make([]plugin.Point, 1), Top: 1}
	var told []string
	each := func(o plugin.Observation) error {
		told = append(told, fmt.Sprint(o.Sequence, o.TopTokens))
		return nil
	}
	err := l.Observe(t.Context(), r, each)
	if want := "0 [1 2], 1 [3], 2 [13], 3 [4], 4 [5 6]"; err != nil || strings.Join(told, ", ") != want {
		t.Errorf("told %s, error %v; want %s", strings.Join(told, ", "), err, want)
	}
	r.Sequences, told = [][]int32{{8}, {13}, {9}}, nil
	if err := l.Observe(t.Context(), r, each); !errors.Is(err, score.ErrEnded) || len(told) != 1 {
		t.Errorf("told %v, error %v of a process that dies of it whenever it is started", told, err)
	}
	enough := errors.New("enough")
	if err := l.Observe(t.Context(), plugin.ObserveRequest{Model: "tiny", Sequences: r.Sequences, Top: 1}, func(plugin.Observation) error { return enough }); err != enough {
		t.Errorf("error %v, want the caller's as it is", err)
	}
	r.Variant.Bypass = []int{2}
	if err := l.Observe(t.Context(), r, each); plugin.KindOf(err) != plugin.Unsupported {
		t.Errorf("without a layer: error %v of kind %d", err, plugin.KindOf(err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Observe(ctx, r, each); err == nil {
		t.Error("a call that was cancelled observes")
	}
}

const (
	chatML = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
	// One that adds a system prompt where there is none, leaves the end off the last
	// turn, and tells the last of the user's to think.
	wordy = `{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ else }}<|im_start|>system
Be kind.<|im_end|>
{{ end }}{{ $n := len .Messages }}{{ range $i, $m := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}{{ if eq .Role "user" }}<|im_start|>user
{{ .Content }}{{ if $last }} /think{{ end }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}{{ if not $last }}<|im_end|>
{{ end }}{{ end }}{{ if and $last (ne .Role "assistant") }}<|im_start|>assistant
{{ end }}{{ end }}`
	// One of the older kind, of which a turn is a prompt and a response.
	older = "{{ if .System }}SYSTEM: {{ .System }} {{ end }}USER: {{ .Prompt }} ASSISTANT: {{ .Response }}</s>"
)

// braced shows a chat with its answers between braces, and what is only there to tell
// the end of the last behind a bar.
func braced(c score.Chat) string {
	var out strings.Builder
	from := 0
	for _, a := range c.Answers {
		out.WriteString(c.Text[from:a[0]] + "{" + c.Text[a[0]:a[1]] + "}")
		from = a[1]
	}
	if c.Ends {
		out.WriteString("|")
	}
	return out.String() + c.Text[from:]
}

// TestTranscripts renders chats by templates of several kinds.
func TestTranscripts(t *testing.T) {
	short := []plugin.Message{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Ho"}}
	long := append(short[:2:2], plugin.Message{Role: "user", Content: "Hi?"}, plugin.Message{Role: "assistant", Content: "Hi Ho "})
	told := append([]plugin.Message{{Role: "system", Content: "Be brief."}}, short...)
	for _, c := range []struct {
		template string
		messages []plugin.Message
		want     string
	}{
		{chatML, short, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{Ho}|<|im_end|>\n<|im_start|>user\n?<|im_end|>\n<|im_start|>assistant\n"},
		{chatML, long, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{Ho}<|im_end|>\n<|im_start|>user\nHi?<|im_end|>\n<|im_start|>assistant\n{Hi Ho }|<|im_end|>\n<|im_start|>user\n?<|im_end|>\n<|im_start|>assistant\n"},
		{chatML, long[:3], "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{Ho}<|im_end|>\n<|im_start|>user\nHi?<|im_end|>\n<|im_start|>assistant\n"},
		{chatML, told, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{Ho}|<|im_end|>\n<|im_start|>user\n?<|im_end|>\n<|im_start|>assistant\n"},
		{wordy, short, "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi /think<|im_end|>\n<|im_start|>assistant\n{Ho}|<|im_end|>\n<|im_start|>user\n? /think<|im_end|>\n<|im_start|>assistant\n"},
		{wordy, long, "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{Ho}<|im_end|>\n<|im_start|>user\nHi? /think<|im_end|>\n<|im_start|>assistant\n{Hi Ho }|<|im_end|>\n<|im_start|>user\n? /think<|im_end|>\n<|im_start|>assistant\n"},
		{older, long, "USER: Hi ASSISTANT: {Ho}</s>USER: Hi? ASSISTANT: {Hi Ho }|</s>USER: ? ASSISTANT: "},
		{older, append(short[:2:2], short[1], short[0]), "USER: Hi ASSISTANT: {Ho}\n\n{Ho}</s>USER: Hi ASSISTANT: "},
		{older, told, "SYSTEM: Be brief. USER: Hi ASSISTANT: {Ho}|</s>USER: ? ASSISTANT: "},
	} {
		parsed, err := template.Parse(c.template)
		if err != nil {
			t.Fatal(err)
		}
		got, err := chat{name: "m", template: parsed}.transcript(c.messages)
		if err != nil || braced(got) != c.want {
			t.Errorf("%v by %q:\n%q, error %v, want\n%q", c.messages, c.template, braced(got), err, c.want)
		}
	}
}

// TestTranscriptsRefused tells what a chat, or a template, is not.
func TestTranscriptsRefused(t *testing.T) {
	const shouting = `{{ range .Messages }}{{ if eq .Role "assistant" }}A: {{ len .Content }}{{ else }}U: {{ .Content }}{{ end }}{{ end }}`
	const trimming = `{{ range .Messages }}{{ .Role }}: {{ .Content }}{{ end }}`
	user := func(words string) plugin.Message { return plugin.Message{Role: "user", Content: words} }
	model := func(words string) plugin.Message { return plugin.Message{Role: "assistant", Content: words} }
	for name, c := range map[string]struct {
		template string
		messages []plugin.Message
		kind     plugin.Kind
		says     string
	}{
		"no template":        {"{{ .Prompt }}", []plugin.Message{user("Hi")}, plugin.Refused, "no chat template; give text"},
		"nobody":             {chatML, nil, plugin.Invalid, "the user says nothing"},
		"system alone":       {chatML, []plugin.Message{{Role: "system", Content: "Be brief."}}, plugin.Invalid, "the user says nothing"},
		"nothing asked":      {chatML, []plugin.Message{model("Ho")}, plugin.Invalid, "message 0 is an answer"},
		"empty answer":       {chatML, []plugin.Message{user("Hi"), model("")}, plugin.Invalid, "message 1 is an empty answer"},
		"a stranger":         {chatML, []plugin.Message{{Role: "narrator", Content: "Hi"}}, plugin.Invalid, `by "narrator"`},
		"words are not kept": {shouting, []plugin.Message{user("Hi"), model("Ho"), user("Hi"), model("Ho")}, plugin.Refused, "changes what the assistant said"},
		"it works":           {trimming, []plugin.Message{user("Hi"), model("Ho"), user("Hi"), model("Ho")}, plugin.Internal, ""},
	} {
		parsed, err := template.Parse(c.template)
		if err != nil {
			t.Fatal(err)
		}
		_, err = chat{name: "m", template: parsed}.transcript(c.messages)
		if c.says == "" != (err == nil) || plugin.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: error %v of kind %d, want one of kind %d about %q", name, err, plugin.KindOf(err), c.kind, c.says)
		}
	}
}
