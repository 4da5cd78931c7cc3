package host

import (
	"net/http"
	"strings"
	"testing"

	"pare/plugin"
)

// Another model may take a variant's name while a job runs; what it scores is not
// what was asked for.
func TestVariantsHaveTheirDigest(t *testing.T) {
	emptyStore(t)
	parent, other := putModel(t, "parent", tiny(t, 8, 1)), putModel(t, "other", tiny(t, 8, 2))
	l := &lent{folder: t.TempDir(), digest: parent.gguf.Digest, model: "parent"}
	for _, digest := range []string{"", other.gguf.Digest} {
		models, err := l.variants("parent", []plugin.Variant{{}, {Model: "other", Digest: digest}})
		if err != nil || models[0].Path != parent.path || models[1].Path != other.path {
			t.Errorf("digest %q: %+v, %v", digest, models, err)
		}
	}
	_, err := l.variants("parent", []plugin.Variant{{Model: "other", Digest: parent.gguf.Digest}})
	if plugin.KindOf(err) != plugin.Unavailable || !strings.Contains(err.Error(), "was replaced") {
		t.Errorf("error %v of kind %d, want one of a model that was replaced", err, plugin.KindOf(err))
	}
}

func TestUnsupportedIsNoFaultOfTheServer(t *testing.T) {
	if got := httpStatus(plugin.Errorf(plugin.Unsupported, "no")); got != http.StatusUnprocessableEntity {
		t.Errorf("status %d, want 422", got)
	}
}
