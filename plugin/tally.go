package plugin

import "fmt"

// A tally sees to it that each of some items, a sequence or a prompt, is answered
// for each variant, and once: a reader of the answers relies on it.
type tally struct {
	variants int
	answered []bool // item by item
	left     int
}

func newTally(items, variants int) *tally {
	n := items * variants
	return &tally{variants: variants, answered: make([]bool, n), left: n}
}

// count takes an answer whose item and variant are known to be in range.
func (t *tally) count(item, variant int) error {
	at := &t.answered[item*t.variants+variant]
	if *at {
		return fmt.Errorf("the server answered item %d twice for variant %d", item, variant)
	}
	*at = true
	t.left--
	return nil
}

// complete reports an error unless everything was answered.
func (t *tally) complete() error {
	if t.left > 0 {
		return fmt.Errorf("the server left out %d of %d answers", t.left, len(t.answered))
	}
	return nil
}
