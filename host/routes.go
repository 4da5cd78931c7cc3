package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"pare/host/client"
	"pare/host/heatmap"
	"pare/host/page"
	"pare/plugin"
)

// patterns are the routes of this server on http.DefaultServeMux, where they
// win over Ollama's own, which has the rest.
var patterns = []string{"/api/prune", "/api/prune/", "/prune", "/prune/"}

// routes is the handler behind patterns.
func (s *Server) routes(listen string) http.Handler {
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.Use(gin.Recovery())
	r.Use(guards(listen)...)
	prune := starts(s.jobs.prune, func(r client.PruneRequest) *bool { return r.Stream })
	r.POST("/api/prune", prune)
	r.POST("/prune", prune)
	r.GET("/prune", getPage)
	r.GET("/prune/:file", getPage)
	r.POST("/api/prune/trace", s.postTrace)
	r.GET("/api/prune/trace", s.getTrace)
	r.GET("/api/prune/trace/*model", s.getTrace)
	r.POST("/api/prune/plan", s.postPlan)
	r.POST("/api/prune/profile", starts(s.jobs.profile, func(r client.ProfileRequest) *bool { return r.Stream }))
	r.GET("/api/prune/profile/*model", s.getProfile)
	r.GET("/api/prune/origin/*model", s.getOrigin)
	r.GET("/api/prune/jobs", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"jobs": s.jobs.list()}) })
	r.POST("/api/prune/evaluate", starts(s.jobs.evaluate, func(r client.EvaluateRequest) *bool { return r.Stream }))
	r.POST("/api/prune/sweep", starts(s.jobs.sweep, func(r client.SweepRequest) *bool { return r.Stream }))
	r.POST("/api/prune/merge", starts(s.jobs.merge, func(r client.MergeRequest) *bool { return r.Stream }))
	r.POST("/api/prune/preview", s.postPreview)
	r.POST("/api/prune/score", s.postScore)
	r.GET("/api/prune/jobs/:id", s.getJob)
	r.GET("/api/prune/jobs/:id/:report", s.getReport)
	r.DELETE("/api/prune/jobs/:id", s.deleteJob)
	r.NoMethod(func(c *gin.Context) {
		c.JSON(http.StatusMethodNotAllowed, gin.H{"error": "this route takes another method; see /api/prune in Pare's README"})
	})
	r.NoRoute(noRoute)
	return r
}

func noRoute(c *gin.Context) {
	c.JSON(http.StatusNotFound, gin.H{"error": "no such route; see /api/prune in Pare's README"})
}

// getPage answers a browser with the page, or with a file that is part of it.
func getPage(c *gin.Context) {
	if !page.Serve(c.Writer, c.Param("file")) {
		noRoute(c)
	}
}

// body reads a request's JSON, strictly: a misspelt field would otherwise be
// ignored in silence, and bytes that are no UTF-8 be replaced.
func body(c *gin.Context, into any) bool {
	err := decode(http.MaxBytesReader(c.Writer, c.Request.Body, 2*maxCorpus), into)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		fail(c, plugin.Errorf(plugin.Invalid, "the request is longer than %d MB; send a text as a blob (/api/blobs) and name its digest", large.Limit>>20))
	case err != nil:
		fail(c, plugin.Errorf(plugin.Invalid, "read the request's JSON: %w", err))
	}
	return err == nil
}

func decode(r io.Reader, into any) error {
	b, err := io.ReadAll(r)
	switch {
	case err != nil:
		return err
	case len(b) == 0:
		return errors.New("it is empty")
	case !utf8.Valid(b):
		return errors.New("it is not UTF-8; convert the text first")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var wrong *json.UnmarshalTypeError
	if err := d.Decode(into); errors.As(err, &wrong) {
		return fmt.Errorf("%s is a %s; it has to be a %s", fieldPath(wrong.Field), wrong.Value, jsonName(wrong.Type.Kind()))
	} else if err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the object")
	}
	return nil
}

// fieldPath is where a field stands in the JSON: without the names of embedded
// structs, which alone are capitalized.
func fieldPath(goPath string) string {
	parts := strings.Split(goPath, ".")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p != "" && unicode.IsUpper(rune(p[0])) }), ".")
}

// jsonName is what JSON calls a kind of Go value.
func jsonName(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice:
		return "list"
	case reflect.Int32:
		return "whole number of 32 bits"
	}
	return "number"
}

func wantsStream(stream *bool) bool { return stream == nil || *stream }

// starts answers a request with the job that begin starts, joins or resumes for it.
func starts[R any](begin func(R) (*job, error), stream func(R) *bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		var r R
		if !body(c, &r) {
			return
		}
		j, err := begin(r)
		if err != nil {
			fail(c, err)
			return
		}
		answer(c, j, wantsStream(stream(r)))
	}
}

func (s *Server) postPlan(c *gin.Context) {
	var r client.PruneRequest
	if !body(c, &r) {
		return
	}
	plan, err := s.plan(c, r)
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(http.StatusOK, plan)
}

// plan chooses layers by the kept profile, or by traffic.
func (s *Server) plan(c *gin.Context, r client.PruneRequest) (plugin.Plan, error) {
	m, err := lookUp("model", r.Model)
	if err != nil {
		return plugin.Plan{}, err
	}
	by, done, err := s.jobs.lendTraffic(m, r.Corpus)
	if err != nil {
		return plugin.Plan{}, err
	}
	defer done()
	return s.planBy(c, m, r, by)
}

func (s *Server) planBy(c *gin.Context, m stored, r client.PruneRequest, by plugin.Corpus) (plugin.Plan, error) {
	selection, err := r.Selection()
	if err != nil {
		return plugin.Plan{}, err
	}
	return callPlugin(c.Request.Context(), s.jobs.pruner, unnoticed, func(p plugin.Pruner) (plugin.Plan, error) {
		return p.Plan(c.Request.Context(), plugin.PlanRequest{
			Model: m.gguf.Digest, Path: m.path, Folder: s.jobs.profilesFolder(), Selection: selection, Corpus: by,
		})
	})
}

// getProfile answers with a kept profile, or with that of traffic for corpus=live:
// JSON, or a drawing for a name that ends in .png or .svg, with the layers marked that
// a selection in the query would remove.
func (s *Server) getProfile(c *gin.Context) {
	name, format := strings.TrimPrefix(c.Param("model"), "/"), ""
	for _, f := range []string{"png", "svg"} {
		if base, ok := strings.CutSuffix(name, "."+f); ok {
			name, format = base, f
			break
		}
	}
	m, err := lookUp("model", name)
	if err != nil {
		fail(c, err)
		return
	}
	var corpus *client.Corpus
	if q := c.Query("corpus"); q != "" {
		corpus = &client.Corpus{Name: q}
	}
	by, done, err := s.jobs.lendTraffic(m, corpus)
	if err != nil {
		fail(c, err)
		return
	}
	defer done()
	profile, err := s.profile(c, m, by)
	if err != nil {
		fail(c, err)
		return
	}
	if format == "" {
		c.JSON(http.StatusOK, profile)
		return
	}
	s.draw(c, m, name, format, profile, by)
}

// profile is the one that is kept of a model, or that of its traffic.
func (s *Server) profile(c *gin.Context, m stored, by plugin.Corpus) (plugin.Profile, error) {
	if !by.Live {
		return plugin.LoadProfile(s.jobs.profilesFolder(), m.gguf.Digest)
	}
	name := m.name.DisplayShortest()
	host := s.jobs.lend(&record{Job: client.Job{Model: name}, Digest: m.gguf.Digest, folder: s.jobs.profilesFolder()})
	return callPlugin(c.Request.Context(), s.jobs.pruner, unnoticed, func(p plugin.Pruner) (plugin.Profile, error) {
		return p.Profile(c.Request.Context(), plugin.ProfileRequest{Model: name, Folder: s.jobs.profilesFolder(), Corpus: by}, host, func(plugin.Event) {})
	})
}

// getOrigin answers with what a model was cut from.
func (s *Server) getOrigin(c *gin.Context) {
	o, err := origin(strings.TrimPrefix(c.Param("model"), "/"))
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(http.StatusOK, o)
}

func (s *Server) draw(c *gin.Context, m stored, name, format string, profile plugin.Profile, by plugin.Corpus) {
	opts := heatmap.Options{Title: name, Tokens: c.Query("tokens")}
	if by.Live {
		opts.Title += ", " + by.Name
	}
	r, selected, err := selectionQuery(c, name)
	if err == nil && selected {
		var plan plugin.Plan
		plan, err = s.planBy(c, m, r, by)
		opts.Plan = &plan
	}
	if err != nil {
		fail(c, err)
		return
	}
	var b strings.Builder
	if err := opts.Validate(); err != nil {
		fail(c, plugin.Errorf(plugin.Invalid, "draw the profile: %w", err))
		return
	}
	if err := heatmap.Write(&b, format, profile, opts); err != nil {
		fail(c, fmt.Errorf("draw the profile of %s: %w", name, err))
		return
	}
	kind := map[string]string{"png": "image/png", "svg": "image/svg+xml"}[format]
	c.Data(http.StatusOK, kind, []byte(b.String()))
}

// selectionQuery reads a selection from a query, and whether there is one.
func selectionQuery(c *gin.Context, name string) (r client.PruneRequest, selected bool, err error) {
	r = client.PruneRequest{Model: name, Range: c.Query("range"), Criterion: c.Query("criterion"), Tokens: c.Query("tokens"), Protect: c.Query("protect")}
	if v := c.Query("drop"); v != "" {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return r, false, plugin.Errorf(plugin.Invalid, "drop is %q; give a number between 0 and 1", v)
		}
		r.Drop = &f
	}
	if v := c.Query("layers"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return r, false, plugin.Errorf(plugin.Invalid, "layers is %q; give a number", v)
		}
		r.Layers = &n
	}
	return r, r.Drop != nil || r.Layers != nil || r.Range != "", nil
}

func (s *Server) getJob(c *gin.Context) {
	j, err := s.jobs.join(c.Param("id"))
	if err != nil {
		fail(c, err)
		return
	}
	answer(c, j, c.Query("stream") != "false")
}

func (s *Server) deleteJob(c *gin.Context) {
	if err := s.jobs.remove(c.Param("id")); err != nil {
		fail(c, err)
		return
	}
	c.Status(http.StatusOK)
}
