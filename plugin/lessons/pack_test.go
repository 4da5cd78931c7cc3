package lessons

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// documents are n of up to longest tokens each, every token of which is another. Of
// about half of them only some tokens are to be learnt.
func documents(r *rand.Rand, n, longest int, begin []int32) (docs []Tokens) {
	for i := range n {
		var d Tokens
		if r.IntN(3) > 0 {
			d.IDs = append(d.IDs, begin...)
		}
		for j := range r.IntN(longest + 1) {
			d.IDs = append(d.IDs, int32(1000*(i+1)+j))
		}
		if r.IntN(2) == 0 {
			for range d.IDs {
				d.Learn = append(d.Learn, r.IntN(3) == 0)
			}
			if d.Learn == nil {
				d.Learn = []bool{}
			}
		}
		docs = append(docs, d)
	}
	return docs
}

// cases calls test with packed documents of many kinds.
func cases(t *testing.T, test func(t *testing.T, docs []Tokens, c Packing, p Packed)) {
	t.Helper()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := Packing{Length: 3 + r.IntN(60)}
		if seed%2 == 0 {
			c.Begin = []int32{7}
		}
		docs := documents(r, 1+r.IntN(40), 1+r.IntN(150), c.Begin)
		p, err := Pack(docs, c)
		if err != nil {
			if strings.Contains(err.Error(), "has 0 tokens to learn") {
				continue
			}
			t.Fatalf("seed %d: %v", seed, err)
		}
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { test(t, docs, c, p) })
	}
}

// From the rows alone: each token to be learnt is the target of one prediction, and
// what precedes it in the document is what the prediction sees last.
func TestPackTeachesEachTokenOnce(t *testing.T) {
	type prediction struct{ seen, next int32 }
	cases(t, func(t *testing.T, docs []Tokens, c Packing, p Packed) {
		want := make(map[prediction]int)
		total := 0
		for _, d := range docs {
			for i := 1; i < len(d.IDs); i++ {
				if d.Learn == nil || d.Learn[i] {
					want[prediction{d.IDs[i-1], d.IDs[i]}]++
					total++
				}
			}
		}
		for _, r := range p.Rows {
			for i, w := range r.Weight {
				if w == 1 {
					want[prediction{r.Tokens[i], r.Target[i]}]--
				} else if w != 0 {
					t.Fatalf("weight %v", w)
				}
			}
		}
		for of, n := range want {
			if n != 0 {
				t.Errorf("%d after %d is taught %d times too few", of.next, of.seen, n)
			}
		}
		if p.Learnt != total {
			t.Errorf("%d tokens are said to be learnt, want %d", p.Learnt, total)
		}
	})
}

func TestPackKeepsDocumentsApart(t *testing.T) {
	cases(t, func(t *testing.T, docs []Tokens, c Packing, p Packed) {
		for _, r := range p.Rows {
			document := int32(0)
			for i, token := range r.Tokens {
				switch {
				case r.Segment[i] == 0:
					if token != 0 || r.Position[i] != 0 || r.Target[i] != 0 || r.Weight[i] != 0 {
						t.Fatalf("padding holds token %d with weight %v", token, r.Weight[i])
					}
				case i == 0 || r.Segment[i] != r.Segment[i-1]:
					if r.Position[i] != 0 || i > 0 && r.Segment[i] != r.Segment[i-1]+1 || i == 0 && r.Segment[i] != 1 {
						t.Fatalf("segment %d begins at position %d behind another", r.Segment[i], r.Position[i])
					}
					if document = token / 1000; c.Begin != nil && token != c.Begin[0] {
						t.Fatalf("a segment begins with %d", token)
					}
				default:
					if r.Position[i] != r.Position[i-1]+1 {
						t.Fatalf("position %d follows %d", r.Position[i], r.Position[i-1])
					}
					if document == 0 {
						document = token / 1000
					}
					if token/1000 != document {
						t.Fatalf("token %d is in a segment of document %d", token, document)
					}
				}
				if i > 0 && r.Segment[i-1] == 0 && r.Segment[i] != 0 {
					t.Fatal("a document lies behind padding")
				}
			}
		}
	})
}

func TestPiecesSayWhatLiesWhere(t *testing.T) {
	cases(t, func(t *testing.T, docs []Tokens, c Packing, p Packed) {
		filled, listed := 0, 0
		for i, piece := range p.Pieces {
			r := p.Rows[piece.Row]
			if !slices.Equal(r.Tokens[piece.At:piece.At+len(piece.Tokens)], piece.Tokens) || !slices.Contains(r.Pieces, i) {
				t.Fatalf("piece %d is not in row %d at %d", i, piece.Row, piece.At)
			}
			own := docs[piece.Document].IDs[piece.From:piece.To]
			begin := piece.Tokens[:len(piece.Tokens)-len(own)]
			if !slices.Equal(piece.Tokens[len(begin):], own) || len(begin) > 0 && !slices.Equal(begin, c.Begin) {
				t.Fatalf("piece %d holds %v, want tokens %d to %d of document %d", i, piece.Tokens, piece.From, piece.To, piece.Document)
			}
			if !slices.Contains(r.Weight[piece.At:piece.At+len(piece.Tokens)], 1) {
				t.Errorf("piece %d teaches nothing", i)
			}
			filled += len(piece.Tokens)
		}
		for _, r := range p.Rows {
			listed += len(r.Pieces)
			for s, i := range r.Pieces {
				if at := p.Pieces[i].At; r.Segment[at] != int32(s+1) {
					t.Errorf("piece %d is number %d of its row, but segment %d", i, s+1, r.Segment[at])
				}
			}
			if len(r.Tokens) != c.Length || len(r.Segment) != c.Length || len(r.Position) != c.Length || len(r.Target) != c.Length || len(r.Weight) != c.Length {
				t.Fatalf("a row has no %d entries", c.Length)
			}
		}
		if want := 1 - float64(filled)/float64(c.Length*len(p.Rows)); listed != len(p.Pieces) || p.Padding() != want || len(p.Sequences()) != len(p.Pieces) {
			t.Errorf("%d of %d pieces are in rows, padding %v, want %v", listed, len(p.Pieces), p.Padding(), want)
		}
	})
}

// What is observed of each token of a piece comes to lie beside that token.
func TestLay(t *testing.T) {
	cases(t, func(t *testing.T, docs []Tokens, c Packing, p Packed) {
		const width = 3
		rows := make([][]int32, len(p.Rows))
		for i := range rows {
			rows[i] = make([]int32, c.Length*width)
		}
		for i, sequence := range p.Sequences() {
			var observed []int32
			for _, token := range sequence {
				observed = append(observed, token, -token, 2*token)
			}
			piece := p.Pieces[i]
			if err := Lay(piece, c.Length, observed, rows[piece.Row]); err != nil {
				t.Fatal(err)
			}
		}
		for i, r := range p.Rows {
			for j, token := range r.Tokens {
				if got := rows[i][width*j : width*j+width]; !slices.Equal(got, []int32{token, -token, 2 * token}) {
					t.Fatalf("beside token %d of row %d lies %v", token, i, got)
				}
			}
		}
	})
}

func TestLayRefuses(t *testing.T) {
	p := Piece{Tokens: []int32{1, 2}, At: 3}
	for _, tt := range []struct {
		what                  string
		length, observed, row int
	}{
		{"too few", 5, 3, 10}, {"too many", 5, 6, 10}, {"no matrix", 5, 4, 11}, {"short row", 4, 4, 8}, {"no row", 0, 4, 0},
	} {
		row := make([]float32, tt.row)
		if err := Lay(p, tt.length, []float32{1, 2, 3, 4, 5, 6}[:tt.observed], row); err == nil || slices.Max(append(row, 0)) > 0 {
			t.Errorf("%s: error %v and row %v", tt.what, err, row)
		}
	}
}

func TestPackByHand(t *testing.T) {
	docs := []Tokens{
		{IDs: []int32{1, 10, 11, 12, 13, 14, 15}},
		{IDs: []int32{1, 20, 21, 22}, Learn: []bool{false, false, true, true}},
		{IDs: []int32{30}},
	}
	p, err := Pack(docs, Packing{Length: 5, Begin: []int32{1}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Row{
		{[]int32{1, 10, 11, 12, 13}, []int32{1, 1, 1, 1, 1}, []int32{0, 1, 2, 3, 4}, []int32{10, 11, 12, 13, 14}, []float32{1, 1, 1, 1, 1}, []int{0}},
		{[]int32{1, 14, 15, 0, 0}, []int32{1, 1, 1, 0, 0}, []int32{0, 1, 2, 0, 0}, []int32{0, 15, 0, 0, 0}, []float32{0, 1, 0, 0, 0}, []int{1}},
		{[]int32{1, 20, 21, 22, 0}, []int32{1, 1, 1, 1, 0}, []int32{0, 1, 2, 3, 0}, []int32{20, 21, 22, 0, 0}, []float32{0, 1, 1, 0, 0}, []int{2}},
	}
	if !reflect.DeepEqual(p.Rows, want) || p.Learnt != 8 {
		t.Errorf("%d tokens to learn in rows %v, want 8 in %v", p.Learnt, p.Rows, want)
	}
}

func TestPackIsTight(t *testing.T) {
	for _, tt := range []struct {
		what              string
		shortest, longest int
		most              float64 // padding
	}{
		{"answers", 20, 140, 0.02},
		{"letters", 100, 400, 0.12},
		{"chapters", 500, 5000, 0.03},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		var docs []Tokens
		for range 500 {
			docs = append(docs, Tokens{IDs: make([]int32, tt.shortest+r.IntN(tt.longest-tt.shortest))})
		}
		p, err := Pack(docs, Packing{Length: 256, Begin: []int32{1}})
		if err != nil || p.Padding() > tt.most {
			t.Errorf("%s: %v is padding, want at most %v; %v", tt.what, p.Padding(), tt.most, err)
		}
	}
}

func TestPackIsDeterministic(t *testing.T) {
	cases(t, func(t *testing.T, docs []Tokens, c Packing, p Packed) {
		if again, err := Pack(docs, c); err != nil || !reflect.DeepEqual(p, again) {
			t.Errorf("the second time other rows, %v", err)
		}
	})
}

func TestPackRefuses(t *testing.T) {
	some := []Tokens{{IDs: make([]int32, 12)}}
	for _, tt := range []struct {
		what string
		docs []Tokens
		c    Packing
		want string
	}{
		{"length 0", some, Packing{}, "length 0 holds no two tokens"},
		{"length taken by the beginning", some, Packing{Length: 2, Begin: []int32{1}}, "give at least 3"},
		{"negative least", some, Packing{Length: 8, Least: -1}, "least is -1"},
		{"one line", some, Packing{Length: 8, Least: 64}, "the text has 11 tokens to learn; training takes at least 64: give more text"},
		{"nothing to learn", []Tokens{{IDs: []int32{1, 2}, Learn: []bool{true, false}}}, Packing{Length: 8}, "has 0 tokens to learn; training takes at least 1"},
		{"single tokens", []Tokens{{IDs: []int32{1}}, {}}, Packing{Length: 8}, "has 0 tokens to learn"},
		{"no documents", nil, Packing{Length: 8}, "no documents"},
		{"mask of another length", []Tokens{some[0], {IDs: []int32{1, 2}, Learn: []bool{true}}}, Packing{Length: 8}, "document 1 has 2 tokens and says of 1"},
	} {
		p, err := Pack(tt.docs, tt.c)
		if err == nil || !strings.Contains(err.Error(), tt.want) || p.Rows != nil {
			t.Errorf("%s: got %v and error %v, want %q in it", tt.what, p, err, tt.want)
		}
	}
}

func TestFit(t *testing.T) {
	got := fit([]int{3, 6, 10, 4, 7, 1, 4}, 10)
	if want := [][]int{{0, 4}, {1, 3}, {2}, {5, 6}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := fit(nil, 10); len(got) != 0 {
		t.Errorf("nothing takes %v", got)
	}
}
