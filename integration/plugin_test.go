package integration

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"pare/host/client"
	"pare/integration/tinymodel"
)

// TestAnotherPlugin has the same server work with a plugin that it knows nothing
// of, whose rule is another one.
func TestAnotherPlugin(t *testing.T) {
	s := startServer(t, buildPlugin(t, "../plugin/testdata/example")...)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama", Seed: 1})
	layers := 3
	last, err := s.prune(context.Background(), client.PruneRequest{Model: "tiny", Name: "small", Layers: &layers, Repair: unrepaired})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
	r := last.Report
	if !slices.Equal(r.Plan.Remove, []int{1, 3, 5}) || r.PluginName != "alternate 1" || r.Result.Layers != 5 {
		t.Errorf("report: %+v", r)
	}
	s.generate("small", "The light", 4)
	checkStore(t, s.models())
	if _, err := s.client().Profile(context.Background(), client.ProfileRequest{Model: "tiny"}, func(client.Progress) {}); !hasStatus(err, http.StatusUnprocessableEntity) {
		t.Errorf("profile: %v", err)
	}
	if _, err := s.client().Sweep(context.Background(), client.SweepRequest{Model: "tiny"}, func(client.Progress) {}); !hasStatus(err, http.StatusUnprocessableEntity) {
		t.Errorf("sweep: %v", err)
	}
}
