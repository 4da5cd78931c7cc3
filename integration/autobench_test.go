package integration

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pare/host/client"
	"pare/plugin/corpus"
	"pare/plugin/layers"
)

// What is held out is the beginnings of documents that no choice is made by.
const (
	heldOutBytes = 600
	firstGlance  = 3   // documents that every block is scored on
	heldOutTexts = 12  // documents that those in question are scored on
	hopeless     = 0.5 // nats a token behind the best at first glance, ten standard errors
)

// BenchmarkAuto holds the block of six, or three or nine, of SmolLM2's thirty
// layers that the criterion "auto" chooses against the best of all blocks by the
// loss on held-out text, and the time that the choice took against that of trying
// all blocks on all of the text that it compares losses on.
//
// The exhaustive search is not run but reckoned: its blocks and tokens, at the speed
// at which the scoring process then ran every block on held-out text, in pieces
// as long as those of the choice.
func BenchmarkAuto(b *testing.B) {
	s := startServer(b)
	// One thread: two that wait for each other are at the mercy of the machine.
	s.create("smollm2", fromMake(b, "PARE_MODEL"), "PARAMETER num_thread 1")
	began := time.Now()
	p, err := s.client().Profile(b.Context(), client.ProfileRequest{Model: "smollm2"}, func(client.Progress) {})
	if err != nil {
		b.Fatal(err)
	}
	traced := time.Since(began)
	fmt.Printf("the trace behind all choices: %d tokens, %.0f s\n", p.Expected, traced.Seconds())
	for _, n := range []int{3, 6, 9} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := s.in(b)
			chosen, took, tokens := s.chooseAuto(n)
			loss, speed := s.heldOut(blocksOf(p.Layers, n), chosen)
			best := slices.MinFunc(slices.Sorted(maps.Keys(loss)), func(x, y string) int { return cmp.Compare(loss[x], loss[y]) })
			exhaustive := float64(tokens*len(blocksOf(p.Layers, n))) / speed
			fmt.Printf("%d layers: auto took %s, held-out loss %.3f, best %s, %.3f; in %.0f s (%.0f s with the trace), all blocks on its %d tokens: %.0f s\n",
				n, chosen, loss[chosen], best, loss[best], took.Seconds(), (took + traced).Seconds(), tokens, exhaustive)
			b.ReportMetric(loss[chosen]/loss[best], "auto/best-loss")
			b.ReportMetric(took.Seconds()/exhaustive, "auto/exhaustive-time")
			b.ReportMetric((took+traced).Seconds()/exhaustive, "traced+auto/exhaustive-time")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// chooseAuto plans the removal of n layers, with no loss known beforehand, and
// returns them, the time it took behind the trace, and the number of tokens in the
// text that losses are compared on.
func (s *server) chooseAuto(n int) (chosen string, took time.Duration, tokens int) {
	s.tb.Helper()
	folder, err := filepath.Glob(filepath.Join(s.models(), "pare", "profiles", "*"))
	if err != nil || len(folder) != 1 {
		s.tb.Fatalf("profiles: %v, %v", folder, err)
	}
	if err := os.RemoveAll(filepath.Join(folder[0], "scores.bin")); err != nil {
		s.tb.Fatal(err)
	}
	began := time.Now()
	last, err := s.prune(s.tb.Context(), client.PruneRequest{Model: "smollm2", Layers: &n, DryRun: true})
	if err != nil {
		s.tb.Fatal(err)
	}
	took = time.Since(began)
	if last.Report.Plan.Criterion != "auto" {
		s.tb.Fatalf("the layers were chosen by %s", last.Report.Plan.Criterion)
	}
	var text struct{ Passages []struct{ Tokens int } }
	b, err := os.ReadFile(filepath.Join(folder[0], "text.json"))
	if err != nil {
		s.tb.Fatal(err)
	}
	if err := json.Unmarshal(b, &text); err != nil {
		s.tb.Fatal(err)
	}
	for _, p := range text.Passages {
		tokens += p.Tokens
	}
	return layers.Format(last.Report.Plan.Remove), took, tokens
}

// heldOut is the mean loss of a token without each block that could be the best,
// and without the chosen one, and the speed at which all blocks were run, in
// tokens of text times blocks a second.
func (s *server) heldOut(blocks []string, chosen string) (loss map[string]float64, speed float64) {
	s.tb.Helper()
	documents := corpus.Score()[:heldOutTexts]
	began := time.Now()
	sums, scored := s.lossesOn(documents[:firstGlance], blocks)
	speed = float64(scored*len(blocks)) / time.Since(began).Seconds()
	least := slices.Min(slices.Collect(maps.Values(sums)))
	blocks = slices.DeleteFunc(blocks, func(b string) bool { return b != chosen && (sums[b]-least)/float64(scored) > hopeless })
	more, rest := s.lossesOn(documents[firstGlance:], blocks)
	loss = map[string]float64{}
	for _, b := range blocks {
		loss[b] = (sums[b] + more[b]) / float64(scored+rest)
	}
	return loss, speed
}

// lossesOn is the sum of the losses of all scored tokens, by block, and their
// number.
func (s *server) lossesOn(documents []corpus.Document, blocks []string) (sums map[string]float64, scored int) {
	s.tb.Helper()
	sums = map[string]float64{}
	for _, d := range documents {
		text := strings.ToValidUTF8(d.Text[:min(len(d.Text), heldOutBytes)], "")
		r := s.score(client.ScoreRequest{Model: "smollm2", Text: text, Bypass: blocks})
		scored += r.Variants[0].Scored
		for _, v := range r.Variants[1:] {
			for _, p := range v.LogProbs {
				sums[v.Bypass] -= float64(p)
			}
		}
	}
	return sums, scored
}

// blocksOf are all blocks of n layers that leave the last one.
func blocksOf(total, n int) (blocks []string) {
	for a := range total - n {
		block := make([]int, n)
		for i := range block {
			block[i] = a + i
		}
		blocks = append(blocks, layers.Format(block))
	}
	return blocks
}
