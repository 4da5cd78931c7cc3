package score

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pare/plugin"
)

// TestMain is the scoring process, too, when the pool starts it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Verb {
		play(os.Stdin, os.Stdout)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play does what the path of a request's model says. Tokenize answers with the
// number of this process and how many requests it has had.
func play(in io.Reader, out io.Writer) {
	requests, replies := gob.NewDecoder(in), gob.NewEncoder(out)
	for served := int32(1); ; served++ {
		var r Request
		if requests.Decode(&r) != nil {
			return
		}
		if r.Cancel { // too late
			continue
		}
		last := Reply{Done: true}
		switch {
		case r.Open != nil:
			for _, m := range r.Open.Models {
				o := Opened{Path: m.Path, Layers: 9, Offloaded: 4, Short: strings.HasPrefix(m.Path, "large")}
				if strings.Contains(m.Path, "all of it") {
					o.Offloaded = o.Layers
				}
				replies.Encode(Reply{Opened: &o})
			}
			fmt.Fprintln(os.Stderr, "opened again:", r.Open.Again)
		case r.Tokenize != nil:
			replies.Encode(Reply{Tokens: [][]int32{{int32(os.Getpid()), served}}})
		case r.Footprint != nil:
			if strings.HasPrefix(r.Footprint.Path, "large") {
				replies.Encode(Reply{Opened: &Opened{Path: r.Footprint.Path, Layers: 9, Offloaded: 4, Short: true}})
			}
			replies.Encode(Reply{Footprint: &plugin.Footprint{Resident: int64(os.Getpid())}})
		case r.Transcribe != nil:
			for _, c := range r.Transcribe.Chats {
				replies.Encode(Reply{Transcripts: []plugin.Transcript{{Tokens: []int32{int32(len(c.Text))}, Answer: []bool{c.Ends}}}})
			}
		case r.Observe != nil:
			for i, s := range r.Observe.Sequences {
				o := plugin.Observation{Sequence: r.Observe.First + i, TopTokens: s[:r.Observe.Top], Seconds: float64(len(r.Observe.Points))}
				for p := range r.Observe.Points {
					o.States = append(o.States, []float32{float32(s[0]) + 0.25, float32(p)})
				}
				replies.Encode(Reply{Observation: Pack(o)})
			}
		case r.Score != nil:
			last.Failure = perform(r.Score, requests, replies)
		case r.Answers != nil:
			for _, prompt := range slices.Backward(r.Answers.Prompts) {
				if prompt.Text != "no answer" {
					replies.Encode(Reply{Answer: &plugin.Answer{Prompt: prompt.Number, Text: prompt.Text}})
				}
			}
		case r.Generate != nil:
			replies.Encode(Reply{Text: "one "})
			replies.Encode(Reply{Text: "two"})
			replies.Encode(Reply{Answer: &plugin.Answer{Text: "one two", Tokens: 2}})
		}
		replies.Encode(last)
	}
}

func perform(s *Score, requests *gob.Decoder, replies *gob.Encoder) *Failure {
	switch s.Variants[0].Path {
	case "crash":
		fmt.Fprintln(os.Stderr, "loading\nGGML_ASSERT(of everything) failed\n\ngoroutine 1 [running]:\nmain.main()")
		os.Exit(3)
	case "refuse":
		return Fail(plugin.Errorf(plugin.Refused, "I would rather not"))
	case "deaf":
		time.Sleep(time.Hour)
	case "babble":
		os.Stdout.WriteString(strings.Repeat("hello, this is a library speaking\n", 20))
		time.Sleep(time.Hour)
	case "endless":
		replies.Encode(Reply{Score: &plugin.Score{}})
		var r Request
		if requests.Decode(&r) != nil {
			os.Exit(0)
		}
		return Fail(context.Canceled)
	}
	for i := range s.Sequences {
		for v := range s.Variants {
			replies.Encode(Reply{Score: &plugin.Score{Sequence: i, Variant: v, Computed: os.Getpid()}})
		}
	}
	return nil
}

func newTestPool(t *testing.T, c Config) *Pool {
	c.Log = slog.New(slog.DiscardHandler)
	c.Executable = os.Args[0]
	p := NewPool(c)
	t.Cleanup(p.Close)
	return p
}

// process is the number of the pool's process, and how many requests it has had.
func process(t *testing.T, p *Pool) (pid, served int32) {
	t.Helper()
	tokens, err := p.Tokenize(t.Context(), "ok", []string{"text"}, false)
	if err != nil {
		t.Fatal(err)
	}
	return tokens[0][0], tokens[0][1]
}

var unlike = []plugin.Sequence{{Tokens: []int32{1, 2, 3}, From: 1}, {Tokens: []int32{4, 5, 6}, From: 1}, {Tokens: []int32{7, 8, 9}, From: 2}}

func scoreAs(ctx context.Context, p *Pool, path string, each func(plugin.Score) error) error {
	return p.Score(ctx, []Model{{Path: path}, {Path: path, Bypass: []int{1}}}, unlike, true, each)
}

func none(plugin.Score) error { return nil }

// TestOrder numbers sequences as the request does, though they go out in groups.
func TestOrder(t *testing.T) {
	p := newTestPool(t, Config{})
	var got []string
	err := scoreAs(t.Context(), p, "ok", func(s plugin.Score) error {
		got = append(got, fmt.Sprintf("%d/%d", s.Sequence, s.Variant))
		return nil
	})
	if want := "0/0 0/1 1/0 1/1 2/0 2/1"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("scores %s, error %v; want %s", strings.Join(got, " "), err, want)
	}
}

// TestObserve numbers sequences as the request does, though they go out one by one
// and others get their turn between.
func TestObserve(t *testing.T) {
	p := newTestPool(t, Config{})
	o := Observe{Model: Model{Path: "ok"}, Sequences: [][]int32{{7}, {8, 9}, {6}}, First: 4, Points: []plugin.Point{{Layer: 1}, {Layer: 2}}, Top: 1}
	var got []string
	err := p.Observe(t.Context(), o, func(o plugin.Observation) error {
		got = append(got, fmt.Sprint(o.Sequence, o.TopTokens, o.Seconds, o.States))
		return nil
	})
	if want := "4 [7] 2 [[7.25 0] [7.25 1]], 5 [8] 2 [[8.25 0] [8.25 1]], 6 [6] 2 [[6.25 0] [6.25 1]]"; err != nil || strings.Join(got, ", ") != want {
		t.Errorf("observations %s, error %v; want %s", strings.Join(got, ", "), err, want)
	}
	if _, served := process(t, p); served != 7 {
		t.Errorf("%d requests, want each sequence to be one behind one to open the model", served)
	}
}

// TestObserveRefuses what no model could answer, and asks none.
func TestObserveRefuses(t *testing.T) {
	p := newTestPool(t, Config{Executable: "/no/such/process"})
	good := Observe{Model: Model{Path: "ok"}, Sequences: [][]int32{{7}}, Points: []plugin.Point{{Layer: 1}}}
	for name, c := range map[string]struct {
		spoil func(*Observe)
		kind  plugin.Kind
		says  string
	}{
		"nothing asked":   {func(o *Observe) { o.Points = nil }, plugin.Invalid, "give a point"},
		"below none":      {func(o *Observe) { o.Top = -1 }, plugin.Invalid, "-1 most likely"},
		"below layer 0":   {func(o *Observe) { o.Points[0].Layer = -1 }, plugin.Invalid, "from layer 0"},
		"twice":           {func(o *Observe) { o.Points = append(o.Points, o.Points[0]) }, plugin.Invalid, "each once"},
		"backwards":       {func(o *Observe) { o.Points = []plugin.Point{{Layer: 1, Attended: true}, {Layer: 1}} }, plugin.Invalid, "order"},
		"no tokens":       {func(o *Observe) { o.Sequences = append(o.Sequences, nil) }, plugin.Invalid, "sequence 1: it is empty"},
		"layers left out": {func(o *Observe) { o.Model.Bypass = []int{2} }, plugin.Unsupported, "layers [2]"},
		"no model":        {func(o *Observe) { o.Model.Path = "" }, plugin.Internal, "without the path"},
	} {
		o := good
		o.Points = slices.Clone(good.Points)
		c.spoil(&o)
		err := p.Observe(t.Context(), o, nil)
		if err == nil || plugin.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v of kind %d, want kind %d about %q", name, err, plugin.KindOf(err), c.kind, c.says)
		}
	}
	if p.child.Load() != nil {
		t.Error("a process was started for it")
	}
}

func TestTranscribe(t *testing.T) {
	p := newTestPool(t, Config{})
	got, err := p.Transcribe(t.Context(), "ok", []Chat{{Text: "one"}, {Text: "three", Ends: true}})
	if want := "[{[3] [false]} {[5] [true]}]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("transcripts %v, error %v; want %s", got, err, want)
	}
}

func TestGenerate(t *testing.T) {
	p := newTestPool(t, Config{})
	var text string
	a, err := p.Generate(t.Context(), Generation{Model: Model{Path: "ok"}, Prompt: "count"}, func(s string) error {
		text += s
		return nil
	})
	if err != nil || text != "one two" || a.Tokens != 2 {
		t.Errorf("text %q, answer %+v, error %v", text, a, err)
	}
}

// TestAnswer passes answers on as they come, all of them or an error.
func TestAnswer(t *testing.T) {
	p := newTestPool(t, Config{})
	a := Answers{Model: Model{Path: "ok"}, Prompts: []Prompt{{3, "three"}, {8, "eight"}}, MaxTokens: 5, Parallel: 2}
	var got []string
	each := func(a plugin.Answer) error {
		got = append(got, fmt.Sprint(a.Prompt)+a.Text)
		return nil
	}
	if err := p.Answer(t.Context(), a, each); err != nil || strings.Join(got, ", ") != "8eight, 3three" {
		t.Errorf("answers %q, error %v", got, err)
	}
	a.Prompts[1].Text = "no answer"
	if err := p.Answer(t.Context(), a, each); err == nil || !strings.Contains(err.Error(), "1 answers") {
		t.Errorf("error %v where an answer is missing", err)
	}
	a.Parallel = 0
	if err := p.Answer(t.Context(), a, each); plugin.KindOf(err) != plugin.Invalid {
		t.Errorf("error %v of no answers at a time", err)
	}
}

// TestCrash is about last words, and about the request after.
func TestCrash(t *testing.T) {
	p := newTestPool(t, Config{})
	first, _ := process(t, p)
	err := scoreAs(t.Context(), p, "crash", none)
	if plugin.KindOf(err) != plugin.Unavailable || !strings.Contains(fmt.Sprint(err), "GGML_ASSERT(of everything)") ||
		!strings.Contains(err.Error(), "exit status 3") || strings.Contains(err.Error(), "main.main") {
		t.Errorf("error %q of kind %d; want the last words without the stacks", err, plugin.KindOf(err))
	}
	if second, _ := process(t, p); second == first {
		t.Error("the process that crashed answers")
	}
}

// TestBabble ends a process that prints into its replies.
func TestBabble(t *testing.T) {
	p := newTestPool(t, Config{})
	if err := scoreAs(t.Context(), p, "babble", none); plugin.KindOf(err) != plugin.Unavailable {
		t.Errorf("error %v, want one of kind Unavailable", err)
	}
	process(t, p)
}

func TestRefusalLeavesTheProcess(t *testing.T) {
	p := newTestPool(t, Config{})
	before, _ := process(t, p)
	err := scoreAs(t.Context(), p, "refuse", none)
	if plugin.KindOf(err) != plugin.Refused || err.Error() != "I would rather not" {
		t.Errorf("error %v of kind %d", err, plugin.KindOf(err))
	}
	if after, _ := process(t, p); after != before {
		t.Error("a refused request cost the process")
	}
}

func TestCancel(t *testing.T) {
	p := newTestPool(t, Config{})
	before, _ := process(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	err := scoreAs(ctx, p, "endless", func(plugin.Score) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if after, _ := process(t, p); after != before {
		t.Error("a cancelled request cost the process, though it stopped")
	}
}

// TestCallerFails stops a request whose scores the caller does not take.
func TestCallerFails(t *testing.T) {
	p, full := newTestPool(t, Config{}), errors.New("the disk is full")
	err := scoreAs(t.Context(), p, "endless", func(plugin.Score) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("error %v, want the caller's", err)
	}
	process(t, p)
}

// TestDeaf kills a process that does not stop.
func TestDeaf(t *testing.T) {
	p := newTestPool(t, Config{})
	before, _ := process(t, p)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := scoreAs(ctx, p, "deaf", none)
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took < patience || took > 2*patience {
		t.Errorf("error %v after %v, want that of the context after %v", err, took, patience)
	}
	if after, _ := process(t, p); after == before {
		t.Error("the deaf process answers")
	}
}

func TestIdle(t *testing.T) {
	p := newTestPool(t, Config{Idle: 300 * time.Millisecond})
	first, _ := process(t, p)
	if second, served := process(t, p); second != first || served != 2 {
		t.Errorf("process %d, request %d; want process %d and its second", second, served, first)
	}
	time.Sleep(time.Second)
	if third, _ := process(t, p); third == first {
		t.Error("the process did not end when it was idle")
	}
}

func TestClose(t *testing.T) {
	p := newTestPool(t, Config{})
	failed := make(chan error, 1)
	go func() {
		failed <- scoreAs(context.Background(), p, "endless", func(plugin.Score) error {
			go p.Close()
			return nil
		})
	}()
	if err := <-failed; plugin.KindOf(err) != plugin.Unavailable {
		t.Errorf("error %v of what the end cut off, want one of kind Unavailable", err)
	}
	if err := scoreAs(t.Context(), p, "ok", none); plugin.KindOf(err) != plugin.Unavailable {
		t.Errorf("error %v after the end, want one of kind Unavailable", err)
	}
}

// TestFootprintIsMeasuredAlone ends the process that holds models before, and the one
// that measured after.
func TestFootprintIsMeasuredAlone(t *testing.T) {
	p := newTestPool(t, Config{})
	mine, _ := process(t, p)
	before := p.child.Load()
	f, err := p.Footprint(t.Context(), "ok")
	if err != nil || f.Resident == int64(mine) || f.Resident == 0 {
		t.Errorf("footprint by process %d, error %v; the pool's is %d", f.Resident, err, mine)
	}
	if !before.exited() {
		t.Error("the pool's process ran beside it")
	}
	if after, _ := process(t, p); int64(after) == f.Resident {
		t.Error("the process that measured goes on")
	}
}

func TestFootprintWaitsItsTurn(t *testing.T) {
	p := newTestPool(t, Config{})
	p.turns.take(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if f, err := p.Footprint(ctx, "ok"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("footprint %+v, error %v, while another has the turn", f, err)
	}
	p.turns.give()
}

// TestFootprintMakesRoom measures anew where others held the memory.
func TestFootprintMakesRoom(t *testing.T) {
	for _, c := range []struct {
		path string
		want int
	}{{"ok", 0}, {"large", 1}} {
		made := 0
		var measured int64
		p := newTestPool(t, Config{})
		p.config.MakeRoom = func(context.Context) bool {
			made++
			measured = int64(p.child.Load().cmd.Process.Pid)
			return true
		}
		f, err := p.Footprint(t.Context(), c.path)
		if err != nil || made != c.want || f.Resident == measured {
			t.Errorf("%s: room made %d times, want %d; measured by %d before and by %d, error %v", c.path, made, c.want, measured, f.Resident, err)
		}
	}
}

// TestCloseWaitsForNobody whose reader does not come back.
func TestCloseWaitsForNobody(t *testing.T) {
	p := newTestPool(t, Config{})
	stuck, let := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- scoreAs(context.Background(), p, "ok", func(plugin.Score) error {
			close(stuck)
			<-let
			return errors.New("it came back")
		})
	}()
	<-stuck
	c, began := p.child.Load(), time.Now()
	p.Close()
	if took := time.Since(began); took > 2*patience {
		t.Errorf("it took %v", took)
	}
	if !c.exited() {
		t.Error("the process lives on")
	}
	close(let)
	if err := <-ended; err == nil {
		t.Error("it ended well")
	}
}

// TestRoom is made once for a model that does not fit, not for each request.
func TestRoom(t *testing.T) {
	made := 0
	p := newTestPool(t, Config{MakeRoom: func(context.Context) bool { made++; return true }})
	for _, c := range []struct {
		path string
		want int
	}{{"ok", 0}, {"large", 1}, {"large, all of it", 1}, {"large", 1}, {"large, too", 2}, {"large", 2}} {
		if err := scoreAs(t.Context(), p, c.path, none); err != nil {
			t.Fatal(err)
		}
		if made != c.want {
			t.Errorf("after %q room was made %d times, want %d", c.path, made, c.want)
		}
	}
}

// TestNoRoom does not load anew where nothing was freed, nor ask again.
func TestNoRoom(t *testing.T) {
	made := 0
	p := newTestPool(t, Config{MakeRoom: func(context.Context) bool { made++; return false }})
	for range 2 {
		if err := scoreAs(t.Context(), p, "large", none); err != nil {
			t.Fatal(err)
		}
	}
	// Each of 3 sequences twice: open, and score.
	if _, served := process(t, p); made != 1 || served != 2*3*2+1 {
		t.Errorf("room was asked for %d times, want 1; %d requests, want 13", made, served)
	}
}

// TestTurns gives them in the order of asking, and not to those that went away.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q turns
		var mu sync.Mutex
		var got []int
		q.take(t.Context())
		for i := range 4 {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if q.take(ctx) == nil {
					mu.Lock()
					got = append(got, i)
					mu.Unlock()
					q.give()
				}
			}()
			synctest.Wait()
			if i == 2 {
				cancel()
			}
			defer cancel()
		}
		synctest.Wait()
		q.give()
		synctest.Wait()
		if want := []int{0, 1, 3}; !slices.Equal(got, want) {
			t.Errorf("turns went to %v, want %v", got, want)
		}
		if !q.try() {
			t.Error("a turn was lost")
		}
	})
}

// TestFair lets another in between two groups of a long request.
func TestFair(t *testing.T) {
	p := newTestPool(t, Config{})
	between := make(chan error, 1)
	seen := 0
	err := scoreAs(t.Context(), p, "ok", func(s plugin.Score) error {
		if seen++; seen > 1 {
			return nil
		}
		waits := make(chan struct{})
		go func() {
			close(waits)
			_, err := p.Tokenize(context.Background(), "ok", []string{"text"}, false)
			between <- err
		}()
		<-waits
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && p.turns.queue() == 0; {
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-between:
		if err != nil {
			t.Error(err)
		}
	default:
		t.Error("who asked during the first group did not get a turn before the end of the last")
	}
}

func (t *turns) queue() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting)
}

func TestCheck(t *testing.T) {
	p := newTestPool(t, Config{})
	one := plugin.Sequence{Tokens: []int32{1, 2, 3}, From: 1}
	for says, r := range map[string]Score{
		"no variant":       {Sequences: []plugin.Sequence{one}},
		"sequence 1: 0":    {Variants: []Model{{Path: "ok"}}, Sequences: []plugin.Sequence{one, {}}},
		"sequence 0: 1":    {Variants: []Model{{Path: "ok"}}, Sequences: []plugin.Sequence{{Tokens: []int32{1}, From: 1}}},
		"From is 0":        {Variants: []Model{{Path: "ok"}}, Sequences: []plugin.Sequence{{Tokens: []int32{1, 2}}}},
		"From is 2":        {Variants: []Model{{Path: "ok"}}, Sequences: []plugin.Sequence{{Tokens: []int32{1, 2}, From: 2}}},
		"ascending":        {Variants: []Model{{Path: "ok", Bypass: []int{2, 2}}}, Sequences: []plugin.Sequence{one}},
		"in ascending ord": {Variants: []Model{{Path: "ok", Bypass: []int{-1}}}, Sequences: []plugin.Sequence{one}},
	} {
		err := p.Score(t.Context(), r.Variants, r.Sequences, false, none)
		if plugin.KindOf(err) != plugin.Invalid || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("error %v of kind %d, want one of kind Invalid about %q", err, plugin.KindOf(err), says)
		}
	}
	if p.child.Load() != nil {
		t.Error("a process was started for a request that no model could answer")
	}
}

func TestLibraryFolders(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"cuda_v12", "cuda_v13", "vulkan", "docs"} {
		os.Mkdir(root+"/"+d, 0o755)
		if d != "docs" {
			os.WriteFile(root+"/"+d+"/libggml-x.so", nil, 0o644)
		}
	}
	if got, want := libraryFolders(root), []string{root, root + "/cuda_v13", root + "/cuda_v12"}; !slices.Equal(got, want) {
		t.Errorf("folders %v, want %v", got, want)
	}
}
