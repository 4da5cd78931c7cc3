package phrase_test

import (
	"testing"

	"pare/plugin/phrase"
)

func TestMany(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 tokens", 1: "1 token", 999: "999 tokens", 1000: "1,000 tokens", 1234567: "1,234,567 tokens", -100: "-100 tokens", -1000: "-1,000 tokens",
	} {
		if got := phrase.Many(n, "token"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
