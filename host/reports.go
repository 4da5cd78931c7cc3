package host

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/gin-gonic/gin"

	"pare/host/client"
	"pare/host/report"
	"pare/plugin"
)

// getReport answers with the report of a job that is done: as the format that the
// name ends in says, else HTML for a browser and JSON for a program.
func (s *Server) getReport(c *gin.Context) {
	name, format, _ := strings.Cut(c.Param("report"), ".")
	if format == "" {
		format = "json"
		if strings.Contains(c.GetHeader("Accept"), "text/html") {
			format = "html"
		}
	}
	kind, ok := report.ContentType(format)
	if name != "report" || !ok {
		fail(c, plugin.Errorf(plugin.NotFound, "there is no %q; ask for report, or report.json, .md, .html, .txt, .svg or .png", c.Param("report")))
		return
	}
	page, err := s.jobs.page(c.Param("id"))
	if err != nil {
		fail(c, err)
		return
	}
	var b bytes.Buffer
	if err := page.Write(&b, format); errors.Is(err, report.ErrNoFigure) {
		fail(c, plugin.Errorf(plugin.NotFound, "%w; ask for report.html or report.md", err))
		return
	} else if err != nil {
		fail(c, err)
		return
	}
	c.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
	c.Header("X-Content-Type-Options", "nosniff")
	c.Data(http.StatusOK, kind, b.Bytes())
}

// page is the report of a job that is done.
func (js *jobs) page(id string) (*report.Page, error) {
	if !jobID.MatchString(id) {
		return nil, noSuchJob(id)
	}
	rec, err := loadRecord(filepath.Join(js.jobsFolder(), id))
	switch {
	case err != nil:
		return nil, noSuchJob(id)
	case rec.State != client.Done:
		return nil, plugin.Errorf(plugin.NotFound, "job %s is %s and has no report yet", id, rec.State)
	case rec.Kind == client.KindProfile:
		return nil, plugin.Errorf(plugin.NotFound, "job %s measured a profile; it is at /api/prune/profile/%s", id, rec.Model)
	case rec.Kind == client.KindMerge:
		return nil, plugin.Errorf(plugin.NotFound, "job %s merged an adapter and has no report; what it made is at /api/prune/jobs/%s (`pare jobs join %s`)", id, id, id)
	}
	last, err := js.outcome(rec)
	if err != nil {
		return nil, err
	}
	switch rec.Kind {
	case client.KindEvaluate:
		return report.OfEvaluation(*last.Evaluation), nil
	case client.KindSweep:
		return report.OfSweep(*last.Sweep), nil
	}
	profile, err := plugin.LoadProfile(js.profilesFolder(), rec.Digest)
	if errors.Is(err, plugin.ErrNoProfile) || err == nil && profile.Trace != last.Report.Plan.Profile {
		return report.OfJob(*last.Report, nil), nil // the plan was made from another
	}
	if err != nil {
		return nil, fmt.Errorf("read the profile of job %s: %w", id, err)
	}
	return report.OfJob(*last.Report, &profile), nil
}
