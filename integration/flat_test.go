package integration

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"pare/host/client"
	"pare/integration/tinymodel"
)

// The memory of the scoring process stays what it is after the first texts,
// however many follow.
func TestScoringMemoryIsFlat(t *testing.T) {
	const total, most = 100_000, 32 << 20 // tokens; bytes of growth after a tenth of them
	s := startServer(t)
	s.createTiny("llama", tinymodel.Config{Architecture: "llama"})
	early, tokens := int64(0), 0
	for i := 0; tokens < total; i++ {
		r := s.score(client.ScoreRequest{Model: "llama", Text: passage(t, i, 8_000), Context: 256, Bypass: []string{"3-5"}})
		tokens += len(r.Tokens) * len(r.Variants)
		if early == 0 && tokens >= total/10 {
			early = s.scorerMemory()
		}
	}
	late := s.scorerMemory()
	t.Logf("%d MB after a tenth, %d MB after %d tokens", early>>20, late>>20, tokens)
	if late > early+most {
		t.Errorf("it grew by %d MB; it may grow by %d", (late-early)>>20, most>>20)
	}
}

// scorerMemory is the resident memory of the scoring process, in bytes.
func (s *server) scorerMemory() int64 {
	s.tb.Helper()
	for pid, what := range s.children() {
		if what != "scorer" {
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			s.tb.Fatal(err)
		}
		var kilobytes int64
		_, line, _ := bytes.Cut(status, []byte("\nVmRSS:"))
		if _, err := fmt.Sscan(string(line), &kilobytes); err != nil {
			s.tb.Fatalf("read the memory of the scoring process: %v", err)
		}
		return kilobytes << 10
	}
	s.tb.Fatal("there is no scoring process")
	return 0
}
