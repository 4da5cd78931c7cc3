package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"text/tabwriter"

	"pare/host/client"
	"pare/plugin"
	"pare/plugin/layers"
)

// keptName stands for the kept profile of text in --compare.
const keptName = "kept"

// A differing is one run of `pare profile MODEL --compare A,B`.
type differing struct {
	model, a, b string
	asJSON      bool
}

// newDiffering reads the two sides: labels of traffic, "live" for all of it, or "kept".
func newDiffering(model, sides string, asJSON bool) (*differing, error) {
	a, b, ok := strings.Cut(sides, ",")
	d := &differing{model: model, a: strings.TrimSpace(a), b: strings.TrimSpace(b), asJSON: asJSON}
	if !ok || d.a == "" || d.b == "" || d.a == d.b || strings.Contains(d.b, ",") {
		return nil, fmt.Errorf("--compare %s: give two labels of traffic with a comma between, or live for all of it, or kept for the profile of text", sides)
	}
	return d, nil
}

func (d *differing) run(ctx context.Context) error {
	f := newFollower(d.asJSON)
	a, err := d.profile(ctx, d.a, f)
	var b plugin.Profile
	if err == nil {
		b, err = d.profile(ctx, d.b, f)
	}
	f.stop()
	if err := explain(ctx, f, err); err != nil {
		return err
	}
	if a.Model != b.Model {
		return errors.New("the model was replaced meanwhile; ask again")
	}
	blocks := differences(a, b)
	if d.asJSON {
		return json.NewEncoder(os.Stdout).Encode(map[string]any{"status": "success", "profiles": []plugin.Profile{a, b}, "blocks": blocks})
	}
	return d.print(os.Stdout, a, b, blocks)
}

func (d *differing) profile(ctx context.Context, name string, f follower) (plugin.Profile, error) {
	r := client.ProfileRequest{Model: d.model}
	switch name {
	case keptName:
	case "live":
		r.Corpus = &client.Corpus{Name: name}
	default:
		r.Corpus = &client.Corpus{Name: "live:" + strings.TrimPrefix(name, "live:")}
	}
	return client.FromEnvironment().Profile(ctx, r, within(f))
}

// A difference is the block of n layers of least angular distance by each of two
// profiles, and how far each is by the other's.
type difference struct {
	Layers int        `json:"layers"` // n
	Share  float64    `json:"share"`
	Starts [2]int     `json:"starts"` // 0-based
	Own    [2]float64 `json:"own"`    // distance of the block by the profile that chose it
	Others [2]float64 `json:"others"` // distance of the other's block by that profile
}

// differences compares two profiles of a model at the usual rates.
func differences(a, b plugin.Profile) []difference {
	var ds []difference
	for _, share := range []float64{0.1, 0.2, 0.25, 0.3, 0.4, 0.5} {
		n := int(math.Round(share * float64(a.Layers)))
		if n < 1 || n >= a.Layers || len(ds) > 0 && ds[len(ds)-1].Layers == n {
			continue
		}
		x, y := least(a, n), least(b, n)
		of := func(p plugin.Profile, start int) float64 { return p.All.Distance[start][start+n] }
		ds = append(ds, difference{
			Layers: n, Share: share, Starts: [2]int{x, y},
			Own: [2]float64{of(a, x), of(b, y)}, Others: [2]float64{of(a, y), of(b, x)},
		})
	}
	return ds
}

// least is the first layer of the block of n of least distance, which keeps the last.
func least(p plugin.Profile, n int) int {
	best := 0
	for a := range p.Layers - n {
		if p.All.Distance[a][a+n] < p.All.Distance[best][best+n] {
			best = a
		}
	}
	return best
}

func (d *differing) print(w io.Writer, a, b plugin.Profile, blocks []difference) error {
	t := tabwriter.NewWriter(w, 0, 0, 4, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "layer\t%s\t%s\tratio\t\n", d.a, d.b)
	for l := range a.Layers {
		x, y := a.All.Distance[l][l+1], b.All.Distance[l][l+1]
		fmt.Fprintf(t, "%d\t%.4f\t%.4f\t%.2f\t\n", l, x, y, y/x)
	}
	fmt.Fprintf(t, "tokens\t%d\t%d\t\t\n", a.Tokens, b.Tokens)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nOf least angular distance, and beside it that of the other's choice:\n")
	t = tabwriter.NewWriter(w, 0, 0, 4, ' ', 0)
	fmt.Fprintf(t, "remove\t%s\t\t%s\t\n", d.a, d.b)
	for _, x := range blocks {
		side := func(i int) string {
			removed := make([]int, x.Layers)
			for k := range removed {
				removed[k] = x.Starts[i] + k
			}
			return fmt.Sprintf("%s\t%.4f, %.4f", layers.Format(removed), x.Own[i], x.Others[i])
		}
		fmt.Fprintf(t, "%d (%.0f%%)\t%s\t%s\n", x.Layers, 100*x.Share, side(0), side(1))
	}
	return t.Flush()
}
