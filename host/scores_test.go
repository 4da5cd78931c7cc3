package host

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pare/host/client"
)

func TestScoresAreTheModelsOwn(t *testing.T) {
	server := testRoutes(t)
	code, lines := ask(t, server, "/api/prune/score", `{"model":"parent","text":"Hello","bypass":["2-3","0,5"]}`)
	var r client.ScoreReply
	if err := json.Unmarshal([]byte(lines[0]), &r); err != nil || code != http.StatusOK || len(r.Variants) != 3 {
		t.Fatalf("status %d, %v: %v", code, err, lines)
	}
	if !slices.Equal(r.Tokens, playedTokens("Hello")) {
		t.Errorf("the tokens are %v", r.Tokens)
	}
	for i, want := range []client.ScoreSeries{{Bypass: "", Agreement: 1}, {Bypass: "2-3", KL: 2}, {Bypass: "0,5", KL: 2}} {
		got := r.Variants[i]
		var sum float64
		for j, c := range "Hello" {
			p := -float64(c)/100 - want.KL
			sum += p
			if math.Abs(float64(got.LogProbs[j])-p) > 1e-6 {
				t.Errorf("variant %d: log-probability %d is %v, want %v", i, j, got.LogProbs[j], p)
			}
		}
		if got.Bypass != want.Bypass || got.KL != want.KL || got.Agreement != want.Agreement || got.Scored != 5 ||
			math.Abs(got.Perplexity/math.Exp(-sum/5)-1) > 1e-6 {
			t.Errorf("variant %d is %+v", i, got)
		}
	}
}

// TestChunksAreThoseOfLlamaCpp writes down which tokens its perplexity tool scores.
func TestChunksAreThoseOfLlamaCpp(t *testing.T) {
	tokens := []int32{256, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	got, err := chunks(tokens, []int32{256}, 4)
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	for i, want := range [][]int32{{256, 1, 2, 3}, {256, 5, 6, 7}} {
		if !slices.Equal(got[i].Tokens, want) || got[i].From != 3 {
			t.Errorf("chunk %d is %v from %d, want %v from 3", i, got[i].Tokens, got[i].From, want)
		}
	}
	if got, _ = chunks(tokens, nil, 5); !slices.Equal(got[1].Tokens, tokens[5:]) || got[1].From != 3 {
		t.Errorf("without a token that begins prompts: %v", got)
	}
	if tokens[4] != 4 {
		t.Error("the tokens given were changed")
	}
}

func TestScoreRefuses(t *testing.T) {
	server := testRoutes(t)
	many := strings.TrimSuffix(strings.Repeat(`"1",`, maxBypasses+1), ",")
	for _, c := range []struct {
		body, want string
		code       int
	}{
		{`{"model":"parent"}`, "nothing to score", 400},
		{`{"model":"parent","text":""}`, "nothing to score", 400},
		{`{"model":"parent","text":"a","tokens":[1,2]}`, "not both", 400},
		{`{"model":"parent","tokens":[1]}`, "1 tokens to score", 400},
		{`{"model":"parent","tokens":[]}`, "0 tokens to score", 400},
		{`{"model":"parent","tokens":[1,999]}`, "token 999 is unknown", 400},
		{`{"model":"parent","tokens":[1,99999999999]}`, "it has to be a whole number of 32 bits", 400},
		{`{"model":"parent","tokens":"a"}`, "tokens is a string; it has to be a list", 400},
		{fmt.Sprintf(`{"model":"parent","text":%q}`, strings.Repeat("a", maxScored)), "give 2 to 20000", 400},
		{fmt.Sprintf(`{"model":"parent","text":%q}`, strings.Repeat("a", maxScoredText+1)), "/api/prune/evaluate", 400},
		{`{"model":"parent","text":"short","context":16}`, "there are 6 tokens, fewer than the 16", 400},
		{fmt.Sprintf(`{"model":"parent","text":%q}`, strings.Repeat("a", 2048)), "the model takes 2048 tokens at once, not 2049", 400},
		{`{"model":"parent","text":"short","context":2049}`, "the model takes 2048 tokens at once", 400},
		{`{"model":"parent","text":"short","context":2}`, "context is 2", 400},
		{`{"model":"parent","text":"short","context":-1}`, "context is -1", 400},
		{`{"model":"parent","text":"a","bypass":["1","2-4,3"]}`, "bypass 2: layer 3 is in", 400},
		{`{"model":"parent","text":"a","bypass":["1",""]}`, "bypass 2: it is empty", 400},
		{`{"model":"parent","text":"a","bypass":["x"]}`, `bypass 1: "x" is not a layer`, 400},
		{`{"model":"parent","text":"a","bypass":[` + many + `]}`, "65 sets", 400},
		{`{"model":"parent","text":"a","bypass":["7"]}`, "layer 7 has to stay", 422},
		{`{"model":"nobody","text":"a"}`, "not found", 404},
	} {
		code, lines := ask(t, server, "/api/prune/score", c.body)
		if code != c.code || !strings.Contains(errorIn(t, lines), c.want) {
			t.Errorf("%.80s: status %d, want %d: %v, want %q", c.body, code, c.code, lines, c.want)
		}
	}
}
