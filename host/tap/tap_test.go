package tap

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"

	"pare/host/tap/toy"
	"pare/host/trace/wire"
	"pare/plugin"
)

func TestMain(m *testing.M) {
	if err := hook(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A remote commands the tap of this process as a server would.
type remote struct {
	t       *testing.T
	service service
	conn    net.Conn
}

func newRemote(t *testing.T, layers, budget int) *remote {
	near, far := net.Pipe()
	r := &remote{t: t, service: service{conn: far, layers: layers, budget: budget}, conn: near}
	t.Cleanup(func() {
		r.do(wire.Stop)
		near.Close()
	})
	return r
}

// do has the tap carry out a command of session 1.
func (r *remote) do(op wire.Op) *plugin.TraceDelta {
	r.t.Helper()
	d := r.command(wire.Command{Op: op, Session: 1}).Delta
	if d == nil {
		d = &plugin.TraceDelta{}
	}
	return d
}

func (r *remote) command(c wire.Command) wire.Reply {
	r.t.Helper()
	done := make(chan error, 1)
	go func() { done <- r.service.answer() }()
	if err := wire.Write(r.conn, c); err != nil {
		r.t.Fatal(err)
	}
	var reply wire.Reply
	if err := wire.Read(r.conn, &reply); err != nil {
		r.t.Fatal(err)
	}
	if err := <-done; err != nil || reply.Error != "" {
		r.t.Fatal(err, reply.Error)
	}
	return reply
}

// batch is a pass over sequences whose tokens have the given positions.
func batch(hidden int, positions []int32, outputs ...int32) toy.Batch {
	r := rand.New(rand.NewPCG(7, uint64(len(positions))))
	b := toy.Batch{Positions: positions, Outputs: outputs}
	for range positions {
		x := make([]float32, hidden)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		b.Embeddings = append(b.Embeddings, x)
	}
	return b
}

func forward(t *testing.T, m toy.Model, b toy.Batch) toy.Result {
	t.Helper()
	r, err := m.Forward(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// expect measures, by the definitions, what the tap should find in a pass.
func expect(t *testing.T, m toy.Model, b toy.Batch) (all, last, first plugin.Sums) {
	t.Helper()
	b.Keep, b.Cuts = true, nil
	r := forward(t, m, b)
	all, last, first = plugin.NewSums(m.Layers), plugin.NewSums(m.Layers), plugin.NewSums(m.Layers)
	for k, position := range b.Positions {
		var x [][]float32
		for _, layer := range r.Residuals {
			x = append(x, layer[k])
		}
		out := slices.Index(b.Outputs, int32(k))
		if out >= 0 {
			x = append(x, r.Final[out])
		}
		if position == 0 {
			reference(&first, m.Layers, x)
			continue
		}
		reference(&all, m.Layers, x)
		if out >= 0 {
			reference(&last, m.Layers, x)
		}
	}
	return all, last, first
}

// passes are the kinds of batches that the engines make.
var passes = map[string]struct{ positions, outputs []int32 }{
	"prompt":              {[]int32{0, 1, 2, 3, 4, 5, 6}, []int32{6}},
	"part of a prompt":    {[]int32{0, 1, 2, 3}, nil},
	"rest of a prompt":    {[]int32{4, 5, 6}, []int32{2}},
	"generation":          {[]int32{41}, []int32{0}},
	"two sequences":       {[]int32{0, 1, 2, 0, 1, 17}, []int32{2, 4, 5}},
	"outputs out of turn": {[]int32{5, 6, 7, 8}, []int32{3, 1}},
	"every row":           {[]int32{0, 1, 2}, []int32{0, 1, 2}},
	"one token, first":    {[]int32{0}, []int32{0}},
}

func TestPassesAreMeasured(t *testing.T) {
	for _, m := range []toy.Model{
		{Layers: 4, Hidden: 32, Seed: 1},
		{Layers: 5, Hidden: 20, Seed: 2, Prefix: "CUDA0#"},
		{Layers: 4, Hidden: 32, Seed: 3, NormAfter: true},
		{Layers: 1, Hidden: 8, Seed: 4},
	} {
		for name, p := range passes {
			b := batch(m.Hidden, p.positions, p.outputs...)
			all, last, first := expect(t, m, b)
			r := newRemote(t, m.Layers, budget)
			r.do(wire.Start)
			forward(t, m, b)
			d := r.do(wire.Drain)
			name = fmt.Sprintf("%+v, %s", m, name)
			if len(d.Faults) > 0 || d.Layers != m.Layers || d.Hidden != m.Hidden {
				t.Errorf("%s: %d layers %d wide, faults %v", name, d.Layers, d.Hidden, d.Faults)
				continue
			}
			near(t, name+", all", d.All, all, 5e-5)
			near(t, name+", last", d.Last, last, 5e-5)
			near(t, name+", first", d.First, first, 5e-5)
		}
	}
}

// A pass split over two backends, wherever it is split, is measured like a whole
// one, and its result is the same to the last bit.
func TestSplitPasses(t *testing.T) {
	for _, m := range []toy.Model{
		{Layers: 4, Hidden: 32, Seed: 1},
		{Layers: 4, Hidden: 32, Seed: 1, NormAfter: true},
	} {
		// Cuts that leave a residual unreadable: between the first norm and its
		// weight; and in the other style, between a norm and its sum, or within
		// the reduction to the wanted rows.
		unreadable := map[bool]int{false: 1, true: 12}[m.NormAfter]
		b := batch(m.Hidden, []int32{0, 1, 2, 0, 1}, 2, 4)
		all, last, first := expect(t, m, b)
		whole := forward(t, m, b)
		r := newRemote(t, m.Layers, budget)
		for cut := 1; cut < whole.Nodes; cut++ {
			r.do(wire.Start)
			b.Cuts = []int{cut}
			got := forward(t, m, b)
			d := r.do(wire.Drain)
			name := fmt.Sprintf("after norms %v, cut at %d of %d", m.NormAfter, cut, whole.Nodes)
			if !slices.Equal(got.Head, whole.Head) {
				t.Errorf("%s: result differs from that without tracing", name)
			}
			if d.Layers == 0 && len(d.Faults) > 0 {
				unreadable--
				continue
			}
			near(t, name+", all", d.All, all, 5e-5)
			near(t, name+", last", d.Last, last, 5e-5)
			near(t, name+", first", d.First, first, 5e-5)
		}
		if unreadable < 0 {
			t.Errorf("after norms %v: %d more cuts than expected could not be measured", m.NormAfter, -unreadable)
		}
	}
}

// Of prompts alone, what the model adds to a text is left out, also beside other
// sequences, and the end of a text that a batch boundary cut off is not. Else
// every token counts.
func TestGeneratedTokens(t *testing.T) {
	m := toy.Model{Layers: 3, Hidden: 16, Seed: 1}
	for _, c := range []struct {
		name      string
		passes    [][2][]int32 // positions, outputs
		all, last int64
	}{
		{"generation", [][2][]int32{{{0, 1, 2}, {2}}, {{3}, {0}}, {{4}, {0}}}, 2, 1},
		{"beside a prompt", [][2][]int32{{{5, 6}, {1}}, {{7, 0, 1, 2}, {0, 3}}, {{8, 3}, {0, 1}}}, 4, 2},
		{"two at a time", [][2][]int32{{{1, 2, 5, 6}, {1, 3}}, {{3, 7}, {0, 1}}}, 4, 2},
		{"last token in a batch of its own", [][2][]int32{{{0, 1, 2}, nil}, {{3}, {0}}}, 3, 1},
		{"end of a shorter text", [][2][]int32{{{0, 1, 2}, {2}}, {{2}, {0}}}, 3, 2},
	} {
		r := newRemote(t, m.Layers, budget)
		var every, outputs int64
		r.do(wire.Start)
		for _, p := range c.passes {
			forward(t, m, batch(m.Hidden, p[0], p[1]...))
			for i, position := range p[0] {
				if position == 0 {
					continue
				}
				every++
				if slices.Contains(p[1], int32(i)) {
					outputs++
				}
			}
		}
		if d := r.do(wire.Drain); d.All.Tokens != every || d.Last.Tokens != outputs {
			t.Errorf("%s, all tokens: %d and %d last ones, want %d and %d", c.name, d.All.Tokens, d.Last.Tokens, every, outputs)
		}
		r.command(wire.Command{Op: wire.Start, Session: 1, Prompts: true})
		for _, p := range c.passes {
			forward(t, m, batch(m.Hidden, p[0], p[1]...))
		}
		d := r.do(wire.Drain)
		if d.All.Tokens != c.all || d.Last.Tokens != c.last || d.All.OutTokens != c.last {
			t.Errorf("%s: %d tokens and %d last ones, %d in x_L; want %d and %d", c.name, d.All.Tokens, d.Last.Tokens, d.All.OutTokens, c.all, c.last)
		}
		r.do(wire.Stop)
	}
}

func TestDrainBeginsAnew(t *testing.T) {
	m := toy.Model{Layers: 3, Hidden: 16, Seed: 1}
	b := batch(m.Hidden, []int32{1, 2, 3}, 2)
	r := newRemote(t, m.Layers, budget)
	forward(t, m, b) // before tracing starts
	r.do(wire.Start)
	forward(t, m, b)
	forward(t, m, b)
	if d := r.do(wire.Drain); d.All.Tokens != 6 || d.Last.Tokens != 2 {
		t.Errorf("first drain: %d tokens, %d last; want 6 and 2", d.All.Tokens, d.Last.Tokens)
	}
	forward(t, m, b)
	if d := r.do(wire.Drain); d.All.Tokens != 3 {
		t.Errorf("second drain: %d tokens, want 3", d.All.Tokens)
	}
	r.do(wire.Stop)
	forward(t, m, b)
	if d := r.do(wire.Drain); d.Layers != 0 {
		t.Errorf("after stop: %d tokens, want none", d.All.Tokens)
	}
}

// Of a share, each pass is measured as a whole or counted as a whole, the results
// are the same, and as many are measured as the share says.
func TestShareOfPasses(t *testing.T) {
	m := toy.Model{Layers: 3, Hidden: 16, Seed: 1}
	b := batch(m.Hidden, []int32{1, 2, 3}, 2)
	whole := forward(t, m, b)
	all, _, _ := expect(t, m, b)
	for _, cuts := range [][]int{nil, {whole.Nodes / 2}} {
		b.Cuts = cuts
		r := newRemote(t, m.Layers, budget)
		r.command(wire.Command{Op: wire.Start, Session: 1, Share: 0.25})
		const rounds = 2000
		for range rounds {
			if got := forward(t, m, b); !slices.Equal(got.Head, whole.Head) {
				t.Fatal("the result differs from that without tracing")
			}
		}
		reply := r.command(wire.Command{Op: wire.Drain, Session: 1})
		measured := reply.Delta.All.Tokens
		if measured+reply.Skipped != 3*rounds || measured%3 != 0 || len(reply.Delta.Faults) > 0 {
			t.Errorf("cuts %v: %d tokens measured and %d counted, want %d together; faults %v", cuts, measured, reply.Skipped, 3*rounds, reply.Delta.Faults)
		}
		if share := float64(measured) / (3 * rounds); math.Abs(share-0.25) > 0.05 { // five standard deviations
			t.Errorf("cuts %v: a share of %.3f was measured, want 0.25", cuts, share)
		}
		if got, want := reply.Delta.All.Angle[0]/float64(measured), all.Angle[0]/3; math.Abs(got-want) > 1e-6 {
			t.Errorf("cuts %v: mean distance %g, want %g", cuts, got, want)
		}
	}
}

// Sums belong to the session that began with them: another's drain gets none, and
// the command that ends a session brings what is left.
func TestSumsBelongToTheirSession(t *testing.T) {
	m := toy.Model{Layers: 3, Hidden: 16, Seed: 1}
	b := batch(m.Hidden, []int32{1, 2, 3}, 2)
	r := newRemote(t, m.Layers, budget)
	r.command(wire.Command{Op: wire.Start, Session: 1})
	forward(t, m, b)
	if reply := r.command(wire.Command{Op: wire.Drain, Session: 2}); reply.Delta != nil {
		t.Errorf("another session drained %d tokens", reply.Delta.All.Tokens)
	}
	reply := r.command(wire.Command{Op: wire.Start, Session: 2})
	if reply.Session != 1 || reply.Delta == nil || reply.Delta.All.Tokens != 3 {
		t.Errorf("the next session's start brought %+v, want the 3 tokens of session 1", reply)
	}
	forward(t, m, b)
	forward(t, m, b)
	reply = r.command(wire.Command{Op: wire.Stop})
	if reply.Session != 2 || reply.Delta == nil || reply.Delta.All.Tokens != 6 {
		t.Errorf("the stop brought %+v, want the 6 tokens of session 2", reply)
	}
}

// A drain that meets a pass takes all of it or nothing, and passes that meet
// each other are computed as always.
func TestConcurrentPasses(t *testing.T) {
	m := toy.Model{Layers: 6, Hidden: 64, Seed: 1}
	b := batch(m.Hidden, []int32{1, 2, 3, 4, 5}, 4)
	want := forward(t, m, b)
	r := newRemote(t, m.Layers, budget)
	r.do(wire.Start)

	const threads, rounds = 3, 200
	var group sync.WaitGroup
	for range threads {
		group.Go(func() {
			for range rounds {
				got, err := m.Forward(b)
				if err != nil || !slices.Equal(got.Head, want.Head) {
					t.Errorf("result differs from that without tracing (error %v)", err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	var passes int64
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		d := r.do(wire.Drain)
		if d.All.Tokens%5 != 0 || d.Last.Tokens*5 != d.All.Tokens {
			t.Fatalf("drained %d tokens, %d last: not whole passes of 5 and 1", d.All.Tokens, d.Last.Tokens)
		}
		passes += d.Last.Tokens
		for _, f := range d.Faults {
			if f.Reason != "two graphs were computed at the same time" {
				t.Errorf("fault %v", f)
			}
			passes += f.Graphs
		}
	}
	if passes != threads*rounds {
		t.Errorf("%d passes counted, measured or left out, of %d", passes, threads*rounds)
	}
}

// Whatever is odd about a pass is reported, counted as nothing, and leaves the
// result of the pass as it is without tracing.
func TestFaults(t *testing.T) {
	usual := toy.Model{Layers: 3, Hidden: 16, Seed: 1}
	unknown := usual
	unknown.NormName = "strange_norm.weight"
	skips := usual
	skips.Layers = 5
	for _, c := range []struct {
		name   string
		model  toy.Model
		spoil  func(*toy.Batch)
		layers int
		budget int
		want   string
	}{
		{"not a number", usual, func(b *toy.Batch) { b.Embeddings[1][3] = float32(math.NaN()) }, 3, budget, "a residual's norm was not finite"},
		{"no input norms", unknown, nil, 3, budget, "the final norm was found but no input norms: this architecture cannot be traced"},
		{"more layers than the file says", skips, nil, 3, budget, "layers did not come one after another"},
		{"no memory", usual, nil, 3, 10, "too little memory to keep the residuals of one pass"},
	} {
		b := batch(c.model.Hidden, []int32{1, 2, 3}, 2)
		if c.spoil != nil {
			c.spoil(&b)
		}
		want := forward(t, c.model, b)
		r := newRemote(t, c.layers, c.budget)
		r.do(wire.Start)
		got := forward(t, c.model, b)
		d := r.do(wire.Drain)
		if d.Layers != 0 || !slices.Equal(d.Faults, []plugin.Fault{{Reason: c.want, Graphs: 1}}) {
			t.Errorf("%s: %d tokens, faults %v; want %q", c.name, d.All.Tokens, d.Faults, c.want)
		}
		if !slices.EqualFunc(got.Head, want.Head, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			t.Errorf("%s: result differs from that without tracing", c.name)
		}
	}
}

func TestChangedModelIsAFault(t *testing.T) {
	r := newRemote(t, 8, budget)
	r.do(wire.Start)
	for _, layers := range []int{3, 4} {
		forward(t, toy.Model{Layers: layers, Hidden: 16, Seed: 1}, batch(16, []int32{1, 2}, 1))
	}
	d := r.do(wire.Drain)
	if want := []plugin.Fault{{Reason: "the number of layers or their width changed", Graphs: 1}}; d.Layers != 3 || !slices.Equal(d.Faults, want) {
		t.Errorf("%d layers, faults %v; want the first model's 3 and %v", d.Layers, d.Faults, want)
	}
}

// With memory for some tokens only, the ends of sequences are among them.
func TestThinning(t *testing.T) {
	m := toy.Model{Layers: 3, Hidden: 16, Seed: 1}
	positions := make([]int32, 100)
	for i := range positions {
		positions[i] = int32(i % 50)
	}
	b := batch(m.Hidden, positions, 49, 99)
	r := newRemote(t, m.Layers, 20*m.Hidden*4*(m.Layers+1))
	r.do(wire.Start)
	forward(t, m, b)
	d := r.do(wire.Drain)
	if d.All.Tokens != 18 || d.First.Tokens != 2 || d.Last.Tokens != 2 || d.Last.OutTokens != 2 {
		t.Errorf("%d tokens, %d first, %d last (%d with output); want 18, 2, 2 (2)",
			d.All.Tokens, d.First.Tokens, d.Last.Tokens, d.Last.OutTokens)
	}
	want := []plugin.Fault{{Reason: "the residuals took too much memory: some tokens were left out", Graphs: 1, Counted: true}}
	if d.LeftOut != 80 || !slices.Equal(d.Faults, want) {
		t.Errorf("%d tokens left out, faults %v; want 80 and %v", d.LeftOut, d.Faults, want)
	}
	b.Embeddings[0][3] = float32(math.NaN()) // the first token is always kept
	forward(t, m, b)
	want = []plugin.Fault{{Reason: "a residual's norm was not finite", Graphs: 1}}
	if d := r.do(wire.Drain); d.LeftOut != 0 || !slices.Equal(d.Faults, want) {
		t.Errorf("of a pass not counted: %d tokens left out, faults %v; want 0 and %v", d.LeftOut, d.Faults, want)
	}
}
