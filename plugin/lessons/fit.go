package lessons

import (
	"cmp"
	"slices"
)

// fit shares items of some lengths out to bins of one size, which none exceeds: the
// longest items first, each into the fullest bin that has room for it (best-fit
// decreasing, which takes at most 11/9 of the fewest bins possible and one more). It
// returns the items of each bin, sorted; so are the bins, by the first item in each.
func fit(lengths []int, size int) [][]int {
	order := make([]int, len(lengths))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(lengths[b], lengths[a]) })

	var bins [][]int
	open := make([][]int, size+1) // bins by the room they have left
	for _, item := range order {
		room := lengths[item]
		for room <= size && len(open[room]) == 0 {
			room++
		}
		var bin int
		if room <= size {
			last := len(open[room]) - 1
			bin, open[room] = open[room][last], open[room][:last]
		} else {
			bin, room = len(bins), size
			bins = append(bins, nil)
		}
		bins[bin] = append(bins[bin], item)
		left := room - lengths[item]
		open[left] = append(open[left], bin)
	}
	for _, bin := range bins {
		slices.Sort(bin)
	}
	slices.SortFunc(bins, func(a, b []int) int { return cmp.Compare(a[0], b[0]) })
	return bins
}
