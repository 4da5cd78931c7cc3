package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"pare/host/client"
)

// selectionFlags are the flags that say how much to remove, and by what rule.
type selectionFlags struct {
	drop, criterion, tokens, protect, corpus string
}

func (s *selectionFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.drop, "drop", "", "how much to remove: a share (25%), a number of layers (8), or the layers (20-27)")
	f.StringVar(&s.criterion, "criterion", "", "how to choose: auto (default), angular, cumulative, influence, deepest, loss or greedy")
	f.StringVar(&s.tokens, "tokens", "", "distances over all tokens (default), or the last of each text, as in the paper")
	f.StringVar(&s.protect, "protect", "", "layers that must stay, such as 0-3,29")
	f.StringVar(&s.corpus, "corpus", "", "a file of text or JSONL to trace with, \"default\" for the text that comes with Pare, or \"live\" or \"live:LABEL\" for the traffic that pare trace measures")
}

// request turns the flags into the API's words.
func (s *selectionFlags) request(model string) (client.PruneRequest, error) {
	r := client.PruneRequest{Model: model, Criterion: s.criterion, Tokens: s.tokens, Protect: s.protect}
	var err error
	r.Corpus, err = choosingCorpus(s.corpus)
	if err != nil || s.drop == "" {
		return r, err
	}
	if err := parseDrop(s.drop, &r); err != nil {
		return r, err
	}
	_, err = r.Selection() // before anything is sent: JSON has no NaN
	return r, err
}

// parseDrop reads 25%, 0.25, 8 or 20-27.
func parseDrop(s string, r *client.PruneRequest) error {
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		v, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
		if err != nil {
			return fmt.Errorf("--drop %s: %q is not a number", s, percent)
		}
		share := v / 100
		r.Drop = &share
		return nil
	}
	if n, err := strconv.Atoi(s); err == nil {
		r.Layers = &n
		return nil
	}
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		r.Drop = &v
		return nil
	}
	r.Range = s
	return nil
}

// choosingCorpus is what layers are chosen by: text, or what a server measured of a
// model's traffic.
func choosingCorpus(s string) (*client.Corpus, error) {
	c := &client.Corpus{Name: s}
	if _, live := c.Traffic(); live {
		return c, nil
	}
	return readCorpus(s)
}

// readCorpus reads a file for the request; the server never opens our paths.
func readCorpus(path string) (*client.Corpus, error) {
	switch path {
	case "":
		return nil, nil
	case "default":
		return &client.Corpus{Name: path}, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the corpus: %w", err)
	}
	if !utf8.Valid(b) { // JSON would replace what is not, in silence
		return nil, fmt.Errorf("read the corpus: %s is not UTF-8 text; convert it first", path)
	}
	return &client.Corpus{Name: filepath.Base(path), Text: string(b)}, nil
}
