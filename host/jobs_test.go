package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"pare/gguf"
	"pare/host/client"
	"pare/plugin"
)

// A scripted pruner does what the test says.
type scripted struct {
	plugin.Pruner // nil: no test has it do more than the methods below
	prune         func(ctx context.Context, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.Report, error)
	profile       func(ctx context.Context, r plugin.ProfileRequest) (plugin.Profile, error)
	merge         func(ctx context.Context, r plugin.MergeRequest, h plugin.Host) (plugin.Merged, error)
}

func (s *scripted) Describe(context.Context) (plugin.Description, error) {
	return plugin.Description{Name: "scripted"}, nil
}

func (s *scripted) Plan(context.Context, plugin.PlanRequest) (plugin.Plan, error) {
	return plugin.Plan{}, nil
}

func (s *scripted) Profile(ctx context.Context, r plugin.ProfileRequest, _ plugin.Host, _ func(plugin.Event)) (plugin.Profile, error) {
	return s.profile(ctx, r)
}

func (s *scripted) Merge(ctx context.Context, r plugin.MergeRequest, h plugin.Host, _ func(plugin.Event)) (plugin.Merged, error) {
	return s.merge(ctx, r, h)
}

func (s *scripted) Prune(ctx context.Context, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.Report, error) {
	return s.prune(ctx, j, h, event)
}

// testJobs are jobs in a new store with the model "parent", done by p.
func testJobs(t *testing.T, p plugin.Pruner) *jobs {
	t.Helper()
	folder := emptyStore(t)
	putModel(t, "parent", tiny(t, 8, 1))
	return reopen(t, folder, p)
}

// reopen is a new server's view of a store.
func reopen(t *testing.T, folder string, p plugin.Pruner) *jobs {
	t.Helper()
	js, err := newJobs(filepath.Join(folder, "pare"),
		func() (plugin.Pruner, error) { return p, nil },
		func(r *record) *lent {
			return &lent{folder: r.folder, model: r.Model, digest: r.Digest, adapter: r.Adapter}
		},
		nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(js.close)
	return js
}

func request(name string, layers int) client.PruneRequest {
	return client.PruneRequest{Model: "parent", Name: name, Layers: &layers}
}

// finish follows a job to its end.
func finish(t *testing.T, j *job, err error) (client.Progress, error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer j.detach()
	return j.follow(t.Context(), func(client.Progress) {})
}

func state1(t *testing.T, js *jobs) client.Job {
	t.Helper()
	list := js.list()
	if len(list) != 1 {
		t.Fatalf("%d jobs are listed, want 1: %+v", len(list), list)
	}
	return list[0]
}

func TestTheSameRequestJoinsTheRunningJob(t *testing.T) {
	var calls atomic.Int32
	release := make(chan struct{})
	js := testJobs(t, &scripted{prune: func(_ context.Context, j plugin.Job, _ plugin.Host, _ func(plugin.Event)) (plugin.Report, error) {
		calls.Add(1)
		<-release
		return plugin.Report{Job: j.ID}, nil
	}})
	a, err := js.prune(request("small", 2))
	if err != nil {
		t.Fatal(err)
	}
	b, err := js.prune(request("small", 2))
	if err != nil || a != b {
		t.Fatalf("the second request got another job (%v)", err)
	}
	if _, err := js.prune(request("SMALL", 3)); plugin.KindOf(err) != plugin.Exists {
		t.Errorf("another job for the same name: %v", err)
	}
	close(release)
	for _, j := range []*job{a, b} {
		if last, err := finish(t, j, nil); err != nil || last.Report.Job != a.id {
			t.Errorf("a follower got %+v, %v", last, err)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("the plugin was called %d times", calls.Load())
	}
	if got := state1(t, js); got.State != client.Done || got.What != "2 layers" || got.Name != "small:latest" {
		t.Errorf("kept as %+v", got)
	}
}

func TestJobsTakeTurns(t *testing.T) {
	working, release := make(chan string), make(chan struct{})
	js := testJobs(t, &scripted{prune: func(_ context.Context, j plugin.Job, _ plugin.Host, _ func(plugin.Event)) (plugin.Report, error) {
		working <- j.ID
		<-release
		return plugin.Report{}, nil
	}})
	first, err := js.prune(request("small", 2))
	if err != nil {
		t.Fatal(err)
	}
	if id := <-working; id != first.id {
		t.Fatalf("%s works, want %s", id, first.id)
	}
	putModel(t, "other", tiny(t, 8, 2))
	second, err := js.prune(client.PruneRequest{Model: "other", Name: "tiny", Layers: new(1)})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 1)
	go second.follow(t.Context(), func(p client.Progress) { told <- p.Status })
	select {
	case id := <-working:
		t.Fatalf("%s works beside %s", id, first.id)
	case status := <-told:
		if !strings.HasPrefix(status, "waiting") {
			t.Errorf("the second job says %q", status)
		}
	}
	close(release)
	if id := <-working; id != second.id {
		t.Errorf("%s works, want %s", id, second.id)
	}
	if _, err := finish(t, second, nil); err != nil {
		t.Error(err)
	}
}

func TestAKeptProfileWaitsForNobody(t *testing.T) {
	working, release := make(chan struct{}), make(chan struct{})
	js := testJobs(t, &scripted{
		prune: func(context.Context, plugin.Job, plugin.Host, func(plugin.Event)) (plugin.Report, error) {
			close(working)
			<-release
			return plugin.Report{}, nil
		},
		profile: func(context.Context, plugin.ProfileRequest) (plugin.Profile, error) {
			return plugin.Profile{Tokens: 7}, nil
		},
	})
	j, err := js.prune(request("small", 2))
	if err != nil {
		t.Fatal(err)
	}
	<-working
	other := putModel(t, "other", tiny(t, 8, 2))
	folder := plugin.ProfileFolder(js.profilesFolder(), other.gguf.Digest)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	kept := fmt.Sprintf(`{"version":%d,"model":%q}`, plugin.ProfileVersion, other.gguf.Digest)
	if err := os.WriteFile(filepath.Join(folder, "profile.json"), []byte(kept), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := js.profile(client.ProfileRequest{Model: "other"})
	if last, err := finish(t, p, err); err != nil || last.Profile.Tokens != 7 {
		t.Errorf("%+v, %v", last, err)
	}
	close(release)
	if _, err := finish(t, j, nil); err != nil {
		t.Error(err)
	}
}

func TestALostPluginIsTriedAgain(t *testing.T) {
	for lost, want := range map[int]plugin.Kind{lives - 1: -1, lives: plugin.Unavailable} {
		var calls int
		js := testJobs(t, &scripted{prune: func(context.Context, plugin.Job, plugin.Host, func(plugin.Event)) (plugin.Report, error) {
			if calls++; calls <= lost {
				return plugin.Report{}, plugin.ErrLost
			}
			return plugin.Report{}, nil
		}})
		j, err := js.prune(request("small", 2))
		_, err = finish(t, j, err)
		if (err == nil) != (want == -1) || (err != nil && plugin.KindOf(err) != want) {
			t.Errorf("lost %d times: %v", lost, err)
		}
	}
}

func TestAFailureIsKeptAndTriedAgain(t *testing.T) {
	fail := true
	js := testJobs(t, &scripted{prune: func(context.Context, plugin.Job, plugin.Host, func(plugin.Event)) (plugin.Report, error) {
		if fail {
			return plugin.Report{}, plugin.Errorf(plugin.Refused, "layers are all alike")
		}
		return plugin.Report{}, nil
	}})
	j, err := js.prune(request("small", 2))
	if _, err = finish(t, j, err); plugin.KindOf(err) != plugin.Refused {
		t.Fatalf("failed with %v", err)
	}
	if got := state1(t, js); got.State != client.Failed || got.Error != "layers are all alike" {
		t.Errorf("kept as %+v", got)
	}
	fail = false
	j, err = js.prune(request("small", 2))
	if _, err = finish(t, j, err); err != nil {
		t.Fatal(err)
	}
	if got := state1(t, js); got.State != client.Done || got.Error != "" {
		t.Errorf("kept as %+v", got)
	}
}

// blocking waits until its job is stopped.
func blocking() (*scripted, chan struct{}) {
	began := make(chan struct{}, 10)
	return &scripted{prune: func(ctx context.Context, _ plugin.Job, _ plugin.Host, _ func(plugin.Event)) (plugin.Report, error) {
		began <- struct{}{}
		<-ctx.Done()
		return plugin.Report{}, ctx.Err()
	}}, began
}

func TestJobsEndBySeveralCauses(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(js *jobs, j *job)
		state string
	}{
		"nobody follows": {func(_ *jobs, j *job) { j.detach(); <-j.done }, client.Stopped},
		"server closes":  {func(js *jobs, _ *job) { js.close() }, client.Stopped},
		"cancelled":      {func(js *jobs, j *job) { js.remove(j.id) }, "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			p, began := blocking()
			js := testJobs(t, p)
			j, err := js.prune(request("small", 2))
			if err != nil {
				t.Fatal(err)
			}
			<-began
			c.end(js, j)
			if c.state == "gone" {
				if list := js.list(); len(list) != 0 {
					t.Errorf("kept %+v", list)
				}
				return
			}
			if got := state1(t, js); got.State != c.state || !strings.Contains(got.Error, "again") {
				t.Errorf("kept as %+v", got)
			}
		})
	}
}

func TestAKilledServersJobIsStoppedAndResumes(t *testing.T) {
	p, began := blocking()
	js := testJobs(t, p)
	j, err := js.prune(request("small", 2))
	if err != nil {
		t.Fatal(err)
	}
	<-began
	// As after a kill: the record says running, and a new server reads it.
	again := reopen(t, os.Getenv("OLLAMA_MODELS"), &scripted{prune: func(_ context.Context, j plugin.Job, _ plugin.Host, _ func(plugin.Event)) (plugin.Report, error) {
		return plugin.Report{Job: j.ID}, nil
	}})
	if got := state1(t, again); got.State != client.Stopped {
		t.Errorf("kept as %+v", got)
	}
	resumed, err := again.prune(request("small", 2))
	if err != nil || resumed.id != j.id {
		t.Fatalf("the same request is job %v, was %s (%v)", resumed, j.id, err)
	}
	if _, err := finish(t, resumed, nil); err != nil {
		t.Error(err)
	}
}

func TestANameOfItsOwnDoesNotStopAResumedJob(t *testing.T) {
	crash := true
	js := testJobs(t, &scripted{prune: func(ctx context.Context, j plugin.Job, h plugin.Host, _ func(plugin.Event)) (plugin.Report, error) {
		r := finishedIn(t, j.Folder, "parent", j.Name, tiny(t, 6, 1))
		r.Adapter = plugin.File{Path: filepath.Join(j.Folder, "adapter.gguf")}
		if err := os.WriteFile(r.Adapter.Path, tiny(t, 1, 1), 0o600); err != nil {
			return plugin.Report{}, err
		}
		var err error
		if r.Adapter.Digest, err = gguf.DigestFile(r.Adapter.Path); err != nil {
			return plugin.Report{}, err
		}
		if _, err := h.Register(ctx, r); err != nil {
			return plugin.Report{}, err
		}
		if crash {
			return plugin.Report{}, errors.New("crashed after registering")
		}
		return plugin.Report{}, nil
	}})
	j, err := js.prune(request("small", 2))
	if _, err := finish(t, j, err); err == nil {
		t.Fatal("did not crash")
	}
	crash = false
	j, err = js.prune(request("small", 2))
	if _, err := finish(t, j, err); err != nil {
		t.Errorf("the resumed job: %v", err)
	}
	if _, err := js.prune(request("small", 2)); plugin.KindOf(err) != plugin.Exists {
		t.Errorf("asking again once it is done: %v", err)
	}
}

func TestRequestsAreCheckedBeforeAnythingIsWritten(t *testing.T) {
	js := testJobs(t, &scripted{})
	share, none := 1.0, 0
	for says, r := range map[string]client.PruneRequest{
		"between 0 and 1":    {Model: "parent", Name: "small", Drop: &share},
		"at least one":       {Model: "parent", Name: "small", Layers: &none},
		"exactly one":        {Model: "parent", Name: "small"},
		"runs backwards":     {Model: "parent", Name: "small", Range: "5-2"},
		"name is missing":    {Model: "parent", Range: "2"},
		"model is missing":   {Name: "small", Range: "2"},
		"not a valid model":  {Model: "parent", Name: "sm all", Range: "2"},
		"it is empty":        {Model: "parent", Name: "small", Range: "2", Corpus: &client.Corpus{}},
		"not both":           {Model: "parent", Name: "small", Range: "2", Corpus: &client.Corpus{Text: "a", Digest: "b"}},
		"not a digest":       {Model: "parent", Name: "small", Range: "2", Corpus: &client.Corpus{Digest: "b"}},
		"upload it with":     {Model: "parent", Name: "small", Range: "2", Corpus: &client.Corpus{Digest: "sha256:" + strings.Repeat("0", 64)}},
		"cannot replace":     {Model: "parent", Name: "PARENT", Range: "2", Force: true},
		"protect: \"x\"":     {Model: "parent", Name: "small", Range: "2", Protect: "x"},
		"pare pull elsewere": {Model: "elsewere", Name: "small", Range: "2"},
	} {
		_, err := js.prune(r)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", r, err, says)
		}
	}
	if list := js.list(); len(list) != 0 {
		t.Errorf("jobs were kept: %+v", list)
	}
}

// A server that is killed while it takes a job in may leave a text and nothing else.
func TestAJobThatWasNeverTakenIn(t *testing.T) {
	folder := emptyStore(t)
	half := filepath.Join(folder, "pare", "jobs", "0123456789ab")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "lessons"), []byte("a user's"), 0o600); err != nil {
		t.Fatal(err)
	}
	reopen(t, folder, &scripted{})
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("it is kept: %v", err)
	}
}

func TestAProfileJobHandsOnItsCorpus(t *testing.T) {
	var got plugin.ProfileRequest
	var text []byte
	js := testJobs(t, &scripted{profile: func(_ context.Context, r plugin.ProfileRequest) (plugin.Profile, error) {
		got = r
		text, _ = os.ReadFile(r.Corpus.Path)
		return plugin.Profile{Tokens: 7}, nil
	}})
	j, err := js.profile(client.ProfileRequest{Model: "parent", Corpus: &client.Corpus{Name: "notes.txt", Text: "some text"}, Add: true})
	last, err := finish(t, j, err)
	if err != nil || last.Profile.Tokens != 7 {
		t.Fatalf("%+v, %v", last, err)
	}
	if got.Model != "parent:latest" || !got.Add || got.Corpus.Name != "notes.txt" || string(text) != "some text" {
		t.Errorf("the plugin got %+v with %q", got, text)
	}
	if _, err := os.Stat(got.Corpus.Path); !os.IsNotExist(err) {
		t.Errorf("the text is kept after the job: %v", err)
	}
}

func TestUnknownJobs(t *testing.T) {
	js := testJobs(t, &scripted{})
	for _, id := range []string{"", "nope", "../../etc", "0123456789ab"} {
		if _, err := js.join(id); plugin.KindOf(err) != plugin.NotFound {
			t.Errorf("join %q: %v", id, err)
		}
		if err := js.remove(id); plugin.KindOf(err) != plugin.NotFound {
			t.Errorf("remove %q: %v", id, err)
		}
	}
}
