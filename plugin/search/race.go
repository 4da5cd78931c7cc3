package search

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
)

const (
	// opening is the number of chunks before the first look: a standard error from
	// fewer is hardly one, and sets that ruin the model should cost no more.
	opening = 4
	// doubt bounds the probability that a race drops the set which is best on text
	// of this kind. It is shared by all looks and all rivals; see beyond.
	doubt = 0.05
	// alike is the share of the log-loss that nobody should pay passes to save.
	alike = 0.005
)

// An ending tells why a race stopped.
type ending int

const (
	won       ending = iota // one set was left
	tied                    // the others are worse, or better by less than alike, beyond doubt
	textEnded               // all chunks were run
	spent                   // the passes it was allowed
)

// A race runs sets of layers on the same chunks until it knows which is best.
type race struct {
	*table
	limit   int    // passes the table may come to, the whole model's included; 0 for no limit
	entered []*row // all that took part
	running []*row // those not dropped, best first
	seen    int    // chunks that the running ones were run on
	looks   int
	later   int // passes that may follow the race, for the progress
}

func newRace(t *table, entrants []*row) *race {
	return &race{table: t, entered: entrants, running: slices.Clone(entrants)}
}

// run races to an ending. The winner is the first of those running.
func (r *race) run(ctx context.Context) (ending, error) {
	r.ahead = r.most
	for {
		k := r.next()
		if k == r.seen && k == len(r.chunks) {
			return textEnded, nil
		}
		if k == r.seen {
			return spent, nil
		}
		if err := r.extend(ctx, r.running, k); err != nil {
			return 0, err
		}
		r.seen = k
		if err := r.look(); err != nil {
			return 0, err
		}
		if len(r.running) == 1 {
			return won, nil
		}
		if r.settled() {
			return tied, nil
		}
	}
}

// next is the number of chunks to look at next: twice as many, as far as the text
// and the limit reach. The opening is made whatever the limit, if on one chunk.
func (r *race) next() int {
	k := min(max(opening, 2*r.seen), len(r.chunks))
	for k > max(r.seen, 1) && r.limit > 0 && r.passes+r.cost(k)+k > r.limit {
		k--
	}
	return k
}

// cost is the number of passes to bring all that run to k chunks.
func (r *race) cost(k int) int {
	n := 0
	for _, v := range r.running {
		n += max(0, k-len(v.nll))
	}
	return n
}

// most is the number of passes that may still follow, the whole model's included.
func (r *race) most() int {
	n := r.cost(len(r.chunks)) + len(r.chunks) + r.later
	if r.limit > 0 {
		n = min(n, max(0, r.limit-r.passes))
	}
	return n
}

// look puts those running in order and drops what is broken, or worse than the
// leader beyond doubt.
func (r *race) look() error {
	r.looks++
	r.running = slices.DeleteFunc(r.running, (*row).broken)
	if len(r.running) == 0 {
		return errors.New("without any of these sets of layers the model's loss is not finite: remove fewer layers, or protect more")
	}
	slices.SortStableFunc(r.running, func(a, b *row) int { return cmp.Compare(r.loss(a), r.loss(b)) })
	leader, bar := r.running[0], r.beyond()
	r.running = slices.DeleteFunc(r.running, func(v *row) bool {
		d := r.difference(v, leader)
		return d.mean > 0 && d.mean > bar*d.err
	})
	return nil
}

// beyond is the number of standard errors that put a difference beyond doubt. Look
// i has doubt/(i(i+1)) to spend, which sums to doubt over any number of looks, and
// shares it among the rivals, of which any may lead by chance.
func (r *race) beyond() float64 {
	rivals := max(1, len(r.entered)-1)
	return quantile(doubt/float64(r.looks*(r.looks+1)*rivals), r.seen-1)
}

// settled reports whether none of those running can be better than the leader by
// more than is worth knowing.
func (r *race) settled() bool {
	leader, bar := r.running[0], r.beyond()
	worth := alike * math.Abs(r.loss(leader))
	for _, v := range r.running[1:] {
		if d := r.difference(v, leader); !(bar*d.err-d.mean <= worth) {
			return false
		}
	}
	return true
}
