package host

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/ollama/ollama/manifest"

	"pare/host/client"
	"pare/host/live"
	"pare/plugin"
	"pare/plugin/traffic"
)

// postTrace changes how a model's traffic is traced.
func (s *Server) postTrace(c *gin.Context) {
	var r client.TraceRequest
	if !body(c, &r) {
		return
	}
	status, err := s.trace(c, r)
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(http.StatusOK, status)
}

func (s *Server) trace(c *gin.Context, r client.TraceRequest) (client.TraceStatus, error) {
	m, err := lookUp("model", r.Model)
	if err != nil {
		return client.TraceStatus{}, err
	}
	if r.Reset && r.Decay != nil {
		return client.TraceStatus{}, plugin.Errorf(plugin.Invalid, "give reset or decay, not both")
	}
	if r.Label != "" && !r.Reset && r.Decay == nil {
		return client.TraceStatus{}, plugin.Errorf(plugin.Invalid, "label goes with reset or decay; requests bear theirs in the header X-Pare-Label")
	}
	if r.Sample != nil {
		if err := live.CheckShare(*r.Sample); err != nil {
			return client.TraceStatus{}, err
		}
	}
	if r.Reset {
		err = s.live.Change(m.gguf.Digest, m.path, func(t *traffic.Store) error { return t.Reset(r.Label) })
	} else if r.Decay != nil {
		err = s.live.Change(m.gguf.Digest, m.path, func(t *traffic.Store) error { return t.Decay(r.Label, *r.Decay) })
	}
	if err != nil {
		return client.TraceStatus{}, err
	}
	if r.Sample != nil {
		if err := s.live.SetShare(c.Request.Context(), m.gguf.Digest, m.path, *r.Sample); err != nil {
			return client.TraceStatus{}, err
		}
	}
	return s.traceStatus(m.name.DisplayShortest(), m.gguf.Digest, m.path)
}

// getTrace says what was measured of the traffic of a model, or of all.
func (s *Server) getTrace(c *gin.Context) {
	all := []client.TraceStatus{}
	err := func() error {
		if name := strings.TrimPrefix(c.Param("model"), "/"); name != "" {
			m, err := lookUp("model", name)
			if err != nil {
				return err
			}
			status, err := s.traceStatus(m.name.DisplayShortest(), m.gguf.Digest, m.path)
			all = append(all, status)
			return err
		}
		names := namesByDigest()
		for _, digest := range s.live.Known() {
			path, err := manifest.BlobsPath(digest)
			if err != nil {
				continue // no model's folder
			}
			status, err := s.traceStatus(cmp.Or(names[digest], digest), digest, path)
			if err != nil {
				return err
			}
			all = append(all, status)
		}
		return nil
	}()
	if err != nil {
		fail(c, err)
		return
	}
	slices.SortFunc(all, func(a, b client.TraceStatus) int { return cmp.Compare(a.Model, b.Model) })
	c.JSON(http.StatusOK, gin.H{"models": all})
}

// namesByDigest is the first name of each GGUF in the store; models with adapters are others.
func namesByDigest() map[string]string {
	names := map[string]string{}
	all, _ := manifest.Manifests(true)
	for n, m := range all {
		if slices.ContainsFunc(m.Layers, func(l manifest.Layer) bool { return l.MediaType == mediaAdapter }) {
			continue
		}
		for _, l := range m.Layers {
			name := n.DisplayShortest()
			if l.MediaType == mediaModel && (names[l.Digest] == "" || name < names[l.Digest]) {
				names[l.Digest] = name
			}
		}
	}
	return names
}

func (s *Server) traceStatus(name, digest, path string) (client.TraceStatus, error) {
	status := client.TraceStatus{Model: name, Digest: digest, Sample: s.live.Share(digest), Note: s.live.Lost(digest), Labels: []client.Traffic{}}
	rows, err := s.live.Traffic(digest, path)
	if err != nil {
		return status, err
	}
	if traffic.Labels(rows) >= traffic.MaxLabels && status.Note == "" {
		status.Note = fmt.Sprintf("no more than %d labels are kept: requests with others count without one (--reset --label forgets one)", traffic.MaxLabels)
	}
	for _, label := range slices.Sorted(maps.Keys(rows)) {
		all, err := traffic.Sum(rows[label])
		if err != nil {
			return status, err
		}
		status.Labels = append(status.Labels, client.Traffic{
			Label: label, From: all.From, To: all.To, Requests: all.Requests, Prompt: all.Prompt, Generated: all.Generated,
			Measured: all.Measured(), Skipped: all.Skipped, LeftOut: all.Delta.LeftOut,
			Cached: max(0, all.Prompt+all.Generated-all.Computed()), Chunks: len(rows[label]), Faults: all.Delta.Faults,
		})
	}
	return status, nil
}
