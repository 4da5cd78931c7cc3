package host

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pare/host/client"
	"pare/plugin"
)

// collect follows a job to its end in the background.
func collect(j *job) (lines func() []client.Progress) {
	var got []client.Progress
	done := make(chan struct{})
	j.attach()
	go func() {
		defer close(done)
		defer j.detach()
		last, err := j.follow(context.Background(), func(p client.Progress) { got = append(got, p) })
		if err != nil {
			last.Error = err.Error()
		}
		got = append(got, last)
	}()
	return func() []client.Progress { <-done; return got }
}

func TestFollowersSeeTheWholeStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJob("1", func(error) {})
		early := collect(j)
		j.report(plugin.Event{Stage: "trace", Status: "tracing", Completed: 1, Total: 10})
		synctest.Wait()
		time.Sleep(time.Second)
		j.report(plugin.Event{Stage: "trace", Status: "tracing", Completed: 6, Total: 10})
		synctest.Wait()
		j.report(plugin.Event{Stage: "plan", Status: "removing layer 3"})
		late := collect(j)
		synctest.Wait()
		j.end(client.Progress{Status: "success"}, nil)

		for name, want := range map[string][]string{"early": {"tracing", "tracing", "removing layer 3", "success"}, "late": {"tracing", "removing layer 3", "success"}} {
			got := map[string]func() []client.Progress{"early": early, "late": late}[name]()
			if len(got) != len(want) {
				t.Fatalf("%s follower saw %+v, want %v", name, got, want)
			}
			for i, p := range got {
				if p.Status != want[i] {
					t.Errorf("%s follower's line %d is %q, want %q", name, i, p.Status, want[i])
				}
			}
			if name == "early" && (got[1].Rate != 5 || got[1].Left != 0.8) {
				t.Errorf("5 units in a second, 4 left: rate %v, left %v", got[1].Rate, got[1].Left)
			}
		}
	})
}

// The status of training tells the loss and is never the same, but a follower who
// comes late wants the latest alone.
func TestTrainingIsOneStep(t *testing.T) {
	for _, stage := range []string{"train", "tune"} {
		j := newJob("1", func(error) {})
		j.report(plugin.Event{Stage: stage, Status: "training: loss 2.0", Completed: 1, Total: 3})
		j.report(plugin.Event{Stage: stage, Status: "training: loss 1.5", Completed: 2, Total: 3})
		lines := collect(j)
		j.end(client.Progress{Status: "success"}, nil)
		if got := lines(); len(got) != 2 || got[0].Status != "training: loss 1.5" || got[0].Completed != 2 {
			t.Errorf("%s: saw %+v", stage, got)
		}
	}
}

func TestFollowersSeeWhyAJobFailed(t *testing.T) {
	j := newJob("1", func(error) {})
	lines := collect(j)
	j.end(client.Progress{}, errors.New("no such luck"))
	if got := lines(); len(got) != 1 || got[0].Error != "no such luck" {
		t.Errorf("saw %+v", got)
	}
}

func TestAJobStopsSomeTimeAfterItsLastFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		j := newJob("1", func(err error) { cause = err })
		j.attach()
		j.attach()
		j.detach()
		time.Sleep(2 * grace)
		if cause != nil {
			t.Fatal("stopped although one follower stayed")
		}
		j.detach()
		time.Sleep(grace / 2)
		j.attach() // came back in time
		time.Sleep(2 * grace)
		if cause != nil {
			t.Fatal("stopped although a follower came back")
		}
		j.detach()
		time.Sleep(2 * grace)
		synctest.Wait()
		if !errors.Is(cause, errAbandoned) {
			t.Errorf("ended by %v, want %v", cause, errAbandoned)
		}
	})
}
