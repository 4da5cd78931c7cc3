package heatmap

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"

	"pare/plugin"
)

func write(t *testing.T, format string, p plugin.Profile, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, format, p, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPNGHasTheSizeAskedFor(t *testing.T) {
	for _, c := range []struct{ ask, width, height int }{{0, 1280, 1360}, {801, 801, 801}} {
		img, err := png.Decode(bytes.NewReader(write(t, "png", synthetic(30), Options{Width: c.ask, Height: c.ask})))
		if err != nil {
			t.Fatal(err)
		}
		if s := img.Bounds().Size(); s.X != c.width || s.Y != c.height {
			t.Errorf("asked for %d, got %v", c.ask, s)
		}
	}
}

// A pixel in the middle of a cell has the colour of its distance.
func TestCellsHaveTheColourOfTheirDistance(t *testing.T) {
	p := synthetic(8)
	img, err := png.Decode(bytes.NewReader(write(t, "png", p, Options{})))
	if err != nil {
		t.Fatal(err)
	}
	low, high := math.Inf(1), 0.0
	found := map[[4]uint32]bool{}
	for y := range img.Bounds().Max.Y {
		for x := range img.Bounds().Max.X {
			r, g, b, a := img.At(x, y).RGBA()
			found[[4]uint32{r, g, b, a}] = true
		}
	}
	for a := range 8 {
		for b := a + 1; b <= 8; b++ {
			low, high = min(low, p.All.Distance[a][b]), max(high, p.All.Distance[a][b])
		}
	}
	for a := range 8 {
		for b := a + 1; b <= 8; b++ {
			r, g, bl, al := shade((p.All.Distance[a][b] - low) / (high - low)).RGBA()
			if !found[[4]uint32{r, g, bl, al}] {
				t.Errorf("no pixel has the colour of the pair %d, %d", a, b)
			}
		}
	}
}

// words are the texts of an SVG.
func words(t *testing.T, svg []byte) string {
	t.Helper()
	var all []string
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return strings.Join(all, "\n")
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := token.(xml.CharData); ok && len(bytes.TrimSpace(s)) > 0 {
			all = append(all, string(bytes.TrimSpace(s)))
		}
	}
}

func marks(svg []byte) int {
	return len(regexp.MustCompile(`stroke:#E84A1C`).FindAll(svg, -1))
}

func TestSVGSaysWhatItShows(t *testing.T) {
	p := synthetic(30)
	plan := planned(p, 18, 19, 20, 21, 22, 23)
	svg := write(t, "svg", p, Options{Plan: plan, Title: "tiny <2>"})
	text := words(t, svg)
	for _, want := range []string{"tiny <2>", "llama, 30 layers; all tokens but each first; 12,345 tokens in 42 chunks of default",
		"angular distance / π", "a: first layer removed", "n: layers removed", "distance to next", "block influence",
		"the best block of each size", "the plan: layers 18-23", "angular 0.103 (95%: 0.1009 to 0.105)", "28", "0.4"} {
		if !strings.Contains(text, want) {
			t.Errorf("the figure does not say %q", want)
		}
	}
	if got := marks(svg); got != 2 { // its cell, and the key to it
		t.Errorf("%d marks of one block", got)
	}
	if !bytes.Contains(svg, []byte("font-family:'Liberation Sans',Arial")) {
		t.Error("the text has no font to fall back on")
	}
	if got := marks(write(t, "svg", p, Options{Plan: planned(p, 3, 18, 19, 25)})); got != 4 {
		t.Errorf("%d marks of three blocks", got)
	}
	bare := write(t, "svg", p, Options{})
	if text := words(t, bare); marks(bare) != 0 || strings.Contains(text, "the plan") || !strings.Contains(text, "Model 0123456789ab") {
		t.Errorf("without a plan or title: %d marks, %s", marks(bare), text)
	}
}

func TestBestKeepsTheLastLayer(t *testing.T) {
	p := synthetic(12)
	f, err := newFigure(p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 12; n++ {
		at := f.best(n)
		if at+n > 11 {
			t.Errorf("the best block of %d starts at %d and takes the last layer", n, at)
		}
		for a := 0; a+n <= 11; a++ {
			if p.All.Distance[a][a+n] < p.All.Distance[at][at+n] {
				t.Errorf("block (%d, %d) is better than (%d, %d)", a, n, at, n)
			}
		}
	}
}

func TestFigureWithoutOutputRows(t *testing.T) {
	p := synthetic(12)
	p.All.OutTokens = 0
	for a := range 12 {
		p.All.Distance[a][12], p.All.Distance[12][a] = 0, 0
	}
	p.All.Influence[11] = 0
	if text := words(t, write(t, "svg", p, Options{Plan: planned(p, 10, 11)})); !strings.Contains(text, "was not traced") {
		t.Error("the figure does not say what is missing")
	}
	f, err := newFigure(p, Options{})
	if err != nil || f.low == 0 {
		t.Errorf("%v; distances never measured are on the scale", err)
	}
}

func TestOutputIsTheSameEachTime(t *testing.T) {
	p := synthetic(30)
	for _, format := range []string{"png", "svg"} {
		o := Options{Plan: planned(p, 18, 19)}
		if !bytes.Equal(write(t, format, p, o), write(t, format, p, o)) {
			t.Errorf("two %s of one profile differ", format)
		}
	}
}

func TestExtremeProfilesAreDrawn(t *testing.T) {
	flat := synthetic(6)
	for a := range flat.All.Distance {
		for b := range flat.All.Distance {
			flat.All.Distance[a][b] = 0
		}
	}
	clear(flat.All.Influence)
	one := synthetic(2)
	for _, p := range []plugin.Profile{flat, one, synthetic(126)} {
		if svg := write(t, "svg", p, Options{Plan: planned(p, 0)}); bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
			t.Errorf("a figure of %d layers has coordinates that are no numbers", p.Layers)
		}
		write(t, "png", p, Options{Width: 640, Height: 640})
	}
}

func TestWriteRefuses(t *testing.T) {
	good := synthetic(6)
	ragged := synthetic(6)
	ragged.All.Distance[3] = ragged.All.Distance[3][:2]
	nan := synthetic(6)
	nan.All.Distance[1][2] = math.NaN()
	for _, c := range []struct {
		format string
		p      plugin.Profile
		o      Options
		says   string
	}{
		{"gif", good, Options{}, `use "png" or "svg"`},
		{"png", good, Options{Tokens: "some"}, "tokens"},
		{"png", good, Options{Width: 10}, "width 10"},
		{"png", good, Options{Height: 1 << 20}, "height 1048576"},
		{"png", good, Options{Tokens: "last"}, "covers no tokens (last)"},
		{"png", plugin.Profile{}, Options{}, "profile the model first"},
		{"png", ragged, Options{}, "do not match"},
		{"svg", nan, Options{}, "holds no distance"},
		{"svg", good, Options{Plan: &plugin.Plan{Remove: []int{6}}}, "no sorted set of layers 0 to 5"},
		{"svg", good, Options{Plan: &plugin.Plan{Remove: []int{2, 1}}}, "no sorted set"},
	} {
		var b bytes.Buffer
		if err := Write(&b, c.format, c.p, c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("want %q, got %v", c.says, err)
		}
		if b.Len() > 0 {
			t.Errorf("%s: %d bytes were written", c.says, b.Len())
		}
	}
}

func TestRoundTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		n         int
		whole     bool
		want      string
	}{
		{0, 29, 16, true, "0 2 4 6 8 10 12 14 16 18 20 22 24 26 28"},
		{0, 5, 16, true, "0 1 2 3 4 5"},
		{.04, .49, 8, false, "0.1 0.2 0.3 0.4"},
		{.001, .0042, 5, false, "0.001 0.002 0.003 0.004"},
		{.3, .3, 5, false, "0.3"},
	} {
		var got []string
		for _, v := range round(c.low, c.high, c.n, c.whole) {
			got = append(got, number(v))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%g to %g: %s, want %s", c.low, c.high, s, c.want)
		}
	}
}
