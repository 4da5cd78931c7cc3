package plugin

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
)

// A pruner is a Pruner made of functions.
type pruner struct {
	describe func(context.Context) (Description, error)
	profile  func(context.Context, ProfileRequest, Host, func(Event)) (Profile, error)
	plan     func(context.Context, PlanRequest) (Plan, error)
	prune    func(context.Context, Job, Host, func(Event)) (Report, error)
	evaluate func(context.Context, EvaluateRequest, Host, func(Event)) (Evaluation, error)
	sweep    func(context.Context, SweepRequest, Host, func(Event)) (Sweep, error)
	merge    func(context.Context, MergeRequest, Host, func(Event)) (Merged, error)
}

func (p pruner) Describe(ctx context.Context) (Description, error) { return p.describe(ctx) }
func (p pruner) Profile(ctx context.Context, r ProfileRequest, h Host, event func(Event)) (Profile, error) {
	return p.profile(ctx, r, h, event)
}
func (p pruner) Plan(ctx context.Context, r PlanRequest) (Plan, error) { return p.plan(ctx, r) }
func (p pruner) Prune(ctx context.Context, j Job, h Host, event func(Event)) (Report, error) {
	return p.prune(ctx, j, h, event)
}
func (p pruner) Evaluate(ctx context.Context, r EvaluateRequest, h Host, event func(Event)) (Evaluation, error) {
	return p.evaluate(ctx, r, h, event)
}
func (p pruner) Sweep(ctx context.Context, r SweepRequest, h Host, event func(Event)) (Sweep, error) {
	return p.sweep(ctx, r, h, event)
}
func (p pruner) Merge(ctx context.Context, r MergeRequest, h Host, event func(Event)) (Merged, error) {
	return p.merge(ctx, r, h, event)
}

// A lender is a Host made of functions.
type lender struct {
	model      func(context.Context, string) (Model, error)
	trace      func(context.Context, TraceRequest, func(TraceDelta) error) error
	tokenize   func(context.Context, string, []string) ([][]int32, error)
	score      func(context.Context, ScoreRequest, func(Score) error) error
	observe    func(context.Context, ObserveRequest, func(Observation) error) error
	transcribe func(context.Context, string, [][]Message) ([]Transcript, error)
	generate   func(context.Context, GenerateRequest, func(Answer) error) error
	footprint  func(context.Context, string, Variant) (Footprint, error)
	floats     func(context.Context, uint32, []byte) ([]float32, error)
	register   func(context.Context, RegisterRequest) (Model, error)
}

func (l lender) Model(ctx context.Context, name string) (Model, error) { return l.model(ctx, name) }
func (l lender) Trace(ctx context.Context, r TraceRequest, each func(TraceDelta) error) error {
	return l.trace(ctx, r, each)
}
func (l lender) Tokenize(ctx context.Context, model string, texts []string) ([][]int32, error) {
	return l.tokenize(ctx, model, texts)
}
func (l lender) Score(ctx context.Context, r ScoreRequest, each func(Score) error) error {
	return l.score(ctx, r, each)
}
func (l lender) Observe(ctx context.Context, r ObserveRequest, each func(Observation) error) error {
	return l.observe(ctx, r, each)
}
func (l lender) Transcribe(ctx context.Context, model string, chats [][]Message) ([]Transcript, error) {
	return l.transcribe(ctx, model, chats)
}
func (l lender) Generate(ctx context.Context, r GenerateRequest, each func(Answer) error) error {
	return l.generate(ctx, r, each)
}
func (l lender) Footprint(ctx context.Context, model string, v Variant) (Footprint, error) {
	return l.footprint(ctx, model, v)
}
func (l lender) Floats(ctx context.Context, kind uint32, data []byte) ([]float32, error) {
	return l.floats(ctx, kind, data)
}
func (l lender) Register(ctx context.Context, r RegisterRequest) (Model, error) {
	return l.register(ctx, r)
}

// across returns p as it is seen from the other end of a connection.
func across(t *testing.T, p Pruner) Pruner {
	t.Helper()
	client, _ := goplugin.TestPluginGRPCConn(t, false, goplugin.PluginSet{prunerName: &grpcPlugin{impl: p}})
	t.Cleanup(func() { client.Close() }) // which stops the other end
	raw, err := client.Dispense(prunerName)
	if err != nil {
		t.Fatal(err)
	}
	return raw.(Pruner)
}

// filled returns a T in which nothing is zero, so that a field that does not
// cross is seen.
func filled[T any](t *testing.T) (v T) {
	t.Helper()
	fill(t, reflect.ValueOf(&v).Elem(), 1)
	return v
}

func fill(t *testing.T, v reflect.Value, n int) {
	t.Helper()
	if at, ok := v.Addr().Interface().(*time.Time); ok {
		*at = time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s %d", v.Type(), n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(n) + 0.25)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), n+1)
		fill(t, v.Index(1), n+2)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n+i)
		}
	default:
		t.Fatalf("the contract has a %s, which this test cannot fill", v.Type())
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s crossed as\n%+v, sent was\n%+v", what, got, want)
	}
}

// TestAllFieldsCross sends every message of the contract with every field set.
func TestAllFieldsCross(t *testing.T) {
	p := across(t, pruner{
		describe: func(context.Context) (Description, error) { return filled[Description](t), nil },
		profile: func(_ context.Context, r ProfileRequest, _ Host, event func(Event)) (Profile, error) {
			same(t, "ProfileRequest", r, filled[ProfileRequest](t))
			event(filled[Event](t))
			return filled[Profile](t), nil
		},
		plan: func(_ context.Context, r PlanRequest) (Plan, error) {
			same(t, "PlanRequest", r, filled[PlanRequest](t))
			return filled[Plan](t), nil
		},
		prune: func(ctx context.Context, j Job, h Host, event func(Event)) (Report, error) {
			same(t, "Job", j, filled[Job](t))
			event(filled[Event](t))
			m, err := h.Model(ctx, "smollm2")
			same(t, "Model", []any{m, err}, []any{filled[Model](t), nil})
			m, err = h.Register(ctx, filled[RegisterRequest](t))
			same(t, "Model", []any{m, err}, []any{filled[Model](t), nil})
			return filled[Report](t), nil
		},
		evaluate: func(_ context.Context, r EvaluateRequest, _ Host, event func(Event)) (Evaluation, error) {
			same(t, "EvaluateRequest", r, filled[EvaluateRequest](t))
			event(filled[Event](t))
			return filled[Evaluation](t), nil
		},
		sweep: func(_ context.Context, r SweepRequest, _ Host, event func(Event)) (Sweep, error) {
			same(t, "SweepRequest", r, filled[SweepRequest](t))
			event(filled[Event](t))
			return filled[Sweep](t), nil
		},
		merge: func(_ context.Context, r MergeRequest, _ Host, event func(Event)) (Merged, error) {
			same(t, "MergeRequest", r, filled[MergeRequest](t))
			event(filled[Event](t))
			return filled[Merged](t), nil
		},
	})
	h := lender{
		model: func(_ context.Context, name string) (Model, error) {
			same(t, "name", name, "smollm2")
			return filled[Model](t), nil
		},
		register: func(_ context.Context, r RegisterRequest) (Model, error) {
			same(t, "RegisterRequest", r, filled[RegisterRequest](t))
			return filled[Model](t), nil
		},
	}
	var events []Event
	each := func(e Event) { events = append(events, e) }
	description, err := p.Describe(t.Context())
	same(t, "Description", []any{description, err}, []any{filled[Description](t), nil})
	profile, err := p.Profile(t.Context(), filled[ProfileRequest](t), h, each)
	same(t, "Profile", []any{profile, err}, []any{filled[Profile](t), nil})
	plan, err := p.Plan(t.Context(), filled[PlanRequest](t))
	same(t, "Plan", []any{plan, err}, []any{filled[Plan](t), nil})
	report, err := p.Prune(t.Context(), filled[Job](t), h, each)
	want := filled[Report](t)
	want.Repair.Settings.Data = Corpus{} // Repaired.Data tells what it was
	same(t, "Report", []any{report, err}, []any{want, nil})
	evaluation, err := p.Evaluate(t.Context(), filled[EvaluateRequest](t), h, each)
	same(t, "Evaluation", []any{evaluation, err}, []any{filled[Evaluation](t), nil})
	sweep, err := p.Sweep(t.Context(), filled[SweepRequest](t), h, each)
	same(t, "Sweep", []any{sweep, err}, []any{filled[Sweep](t), nil})
	merged, err := p.Merge(t.Context(), filled[MergeRequest](t), h, each)
	same(t, "Merged", []any{merged, err}, []any{filled[Merged](t), nil})
	same(t, "events", events, slices.Repeat([]Event{filled[Event](t)}, 5))
}

// TestTraceCrosses sends sums of models up to the deepest that llama.cpp loads,
// which are larger than gRPC's usual limit.
func TestTraceCrosses(t *testing.T) {
	deltas := []TraceDelta{deep(80, 1), deep(80, 2), deep(512, 3)}
	request := TraceRequest{Model: "smollm2", Texts: []Text{{"d1", strings.Repeat("long ", 1<<20)}, {"d2", "二"}}}
	var got []TraceDelta
	p := across(t, pruner{prune: func(ctx context.Context, _ Job, h Host, _ func(Event)) (Report, error) {
		return Report{}, h.Trace(ctx, request, func(d TraceDelta) error {
			got = append(got, d)
			return nil
		})
	}})
	_, err := p.Prune(t.Context(), Job{}, lender{trace: func(_ context.Context, r TraceRequest, each func(TraceDelta) error) error {
		same(t, "TraceRequest", r, request)
		for _, d := range deltas {
			if err := each(d); err != nil {
				return err
			}
		}
		return nil
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "sums", got, deltas)
}

// deep is a delta of a model with that many layers, in which no two sums are equal.
func deep(layers int, tokens int64) TraceDelta {
	n := 0.0
	sums := func() Sums {
		s := NewSums(layers)
		s.Tokens, s.OutTokens = tokens, tokens+1
		for _, row := range [][]float64{s.Angle, s.Cosine, s.Step, s.Norm} {
			for i := range row {
				n += 0.125
				row[i] = n
			}
		}
		return s
	}
	return TraceDelta{
		Model: "sha256:1", Layers: layers, Hidden: 8, All: sums(), Last: sums(), First: sums(),
		Expected: tokens + 5, LeftOut: 3, Faults: []Fault{{Reason: "a reason", Graphs: 3}, {Reason: "another", Graphs: 1, Counted: true}}, Texts: []string{"d1", "d2"},
	}
}

// TestFalseSumsAreRefused sends sums that do not fit their number of layers.
func TestFalseSumsAreRefused(t *testing.T) {
	p := across(t, pruner{prune: func(ctx context.Context, _ Job, h Host, _ func(Event)) (Report, error) {
		return Report{}, h.Trace(ctx, TraceRequest{}, func(TraceDelta) error {
			t.Error("they were handed on")
			return nil
		})
	}})
	_, err := p.Prune(t.Context(), Job{}, lender{trace: func(_ context.Context, _ TraceRequest, each func(TraceDelta) error) error {
		d := deep(8, 1)
		d.Layers = 9
		return each(d)
	}}, nil)
	if err == nil || !strings.Contains(err.Error(), "do not match 9 layers") {
		t.Errorf("prune: %v", err)
	}
}

// TestErrorsCross sends each kind of error through both boundaries: from the host
// to the plugin, and from there to the caller.
func TestErrorsCross(t *testing.T) {
	for kind := Internal; kind <= Unsupported; kind++ {
		sent := &Error{Kind: kind, Err: fmt.Errorf("error of kind %d", kind), Hint: "do something"}
		p := across(t, pruner{
			describe: func(context.Context) (Description, error) { return Description{}, sent },
			plan:     func(context.Context, PlanRequest) (Plan, error) { return Plan{}, sent },
			prune: func(ctx context.Context, _ Job, h Host, _ func(Event)) (Report, error) {
				_, err := h.Model(ctx, "")
				return Report{}, err
			},
			profile: func(ctx context.Context, _ ProfileRequest, h Host, _ func(Event)) (Profile, error) {
				return Profile{}, h.Trace(ctx, TraceRequest{}, nil)
			},
			evaluate: func(context.Context, EvaluateRequest, Host, func(Event)) (Evaluation, error) {
				return Evaluation{}, fmt.Errorf("score text: %w", sent)
			},
			sweep: func(context.Context, SweepRequest, Host, func(Event)) (Sweep, error) { return Sweep{}, sent },
			merge: func(context.Context, MergeRequest, Host, func(Event)) (Merged, error) { return Merged{}, sent },
		})
		h := lender{
			model: func(context.Context, string) (Model, error) { return Model{}, fmt.Errorf("look up: %w", sent) },
			trace: func(context.Context, TraceRequest, func(TraceDelta) error) error { return sent },
		}
		_, describe := p.Describe(t.Context())
		_, plan := p.Plan(t.Context(), PlanRequest{})
		_, prune := p.Prune(t.Context(), Job{}, h, nil)
		_, profile := p.Profile(t.Context(), ProfileRequest{}, h, nil)
		_, evaluate := p.Evaluate(t.Context(), EvaluateRequest{}, h, nil)
		_, sweep := p.Sweep(t.Context(), SweepRequest{}, h, nil)
		_, merge := p.Merge(t.Context(), MergeRequest{}, h, nil)
		for what, err := range map[string]error{"describe": describe, "plan": plan, "prune": prune, "profile": profile, "evaluate": evaluate, "sweep": sweep, "merge": merge} {
			if err == nil || KindOf(err) != kind || !strings.HasSuffix(err.Error(), sent.Error()) || errors.Is(err, ErrLost) {
				t.Errorf("%s: kind %d, %v; sent was kind %d, %v", what, KindOf(err), err, kind, sent)
			}
		}
	}
}

// TestCancelCrosses cancels a call that waits for the host. The plugin and the
// host hear of it, and both are done with the call when the caller is.
func TestCancelCrosses(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var plugin, host error
	p := across(t, pruner{prune: func(ctx context.Context, _ Job, h Host, event func(Event)) (Report, error) {
		plugin = h.Trace(ctx, TraceRequest{}, nil)
		return Report{}, plugin
	}})
	_, err := p.Prune(ctx, Job{}, lender{trace: func(ctx context.Context, _ TraceRequest, _ func(TraceDelta) error) error {
		cancel()
		<-ctx.Done()
		host = ctx.Err()
		return host
	}}, nil)
	for who, err := range map[string]error{"caller": err, "plugin": plugin, "host": host} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s heard %v", who, err)
		}
	}
}

// TestACallThatDoesNotEnd cancels one that goes on all the same: the process is given up, for the
// next call would run beside it.
func TestACallThatDoesNotEnd(t *testing.T) {
	defer func(d time.Duration) { unwinding = d }(unwinding)
	unwinding = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	forever := make(chan struct{})
	p := across(t, pruner{prune: func(_ context.Context, _ Job, h Host, _ func(Event)) (Report, error) {
		_, err := h.Model(context.Background(), "smollm2") // connects
		cancel()
		<-forever
		return Report{}, err
	}})
	t.Cleanup(func() { close(forever) })
	host := lender{model: func(context.Context, string) (Model, error) { return Model{}, nil }}
	if _, err := p.Prune(ctx, Job{}, host, nil); !errors.Is(err, ErrLost) {
		t.Errorf("%v, want ErrLost", err)
	}
}

// TestHostCancels has the host end its part with a cancel that is not the caller's.
func TestHostCancels(t *testing.T) {
	p := across(t, pruner{prune: func(ctx context.Context, _ Job, h Host, _ func(Event)) (Report, error) {
		return Report{}, h.Trace(ctx, TraceRequest{}, nil)
	}})
	_, err := p.Prune(t.Context(), Job{}, lender{trace: func(context.Context, TraceRequest, func(TraceDelta) error) error {
		return fmt.Errorf("trace: %w", context.Canceled)
	}}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("prune: %v", err)
	}
}
