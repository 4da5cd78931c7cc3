package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/ollama/ollama/envconfig"

	"pare/plugin"
)

// maxLine bounds a line of NDJSON; a profile of a deep model is a few MB.
const maxLine = 64 << 20

// A Client talks to a Pare server.
type Client struct {
	base *url.URL
	http *http.Client
}

// New returns a client of the server at base.
func New(base *url.URL, c *http.Client) *Client { return &Client{base, c} }

// FromEnvironment returns a client of the server at OLLAMA_HOST.
func FromEnvironment() *Client { return New(envconfig.Host(), http.DefaultClient) }

// ErrLost means that the server went away while it answered.
var ErrLost = errors.New("lost the server")

// StatusError is an error the server answered with.
type StatusError struct {
	Code    int
	Message string
}

func (e *StatusError) Error() string { return e.Message }

// Prune runs a job, calling each with its progress. Ending ctx stops the job if
// nobody else follows it; the same request resumes it.
func (c *Client) Prune(ctx context.Context, r PruneRequest, each func(Progress)) (plugin.Report, error) {
	last, err := c.stream(ctx, http.MethodPost, "/api/prune", r, each)
	if err == nil && last.Report == nil {
		err = errors.New("the server sent no report")
	}
	if err != nil {
		return plugin.Report{}, err
	}
	return *last.Report, nil
}

// Profile measures a model, calling each with progress.
func (c *Client) Profile(ctx context.Context, r ProfileRequest, each func(Progress)) (plugin.Profile, error) {
	last, err := c.stream(ctx, http.MethodPost, "/api/prune/profile", r, each)
	if err == nil && last.Profile == nil {
		err = errors.New("the server sent no profile")
	}
	if err != nil {
		return plugin.Profile{}, err
	}
	return *last.Profile, nil
}

// Evaluate judges a model, calling each with progress. The last line has the
// evaluation and the job's ID.
func (c *Client) Evaluate(ctx context.Context, r EvaluateRequest, each func(Progress)) (Progress, error) {
	last, err := c.stream(ctx, http.MethodPost, "/api/prune/evaluate", r, each)
	if err == nil && last.Evaluation == nil {
		err = errors.New("the server sent no evaluation")
	}
	return last, err
}

// Sweep tries many cuts, calling each with progress. The last line has the sweep
// and the job's ID.
func (c *Client) Sweep(ctx context.Context, r SweepRequest, each func(Progress)) (Progress, error) {
	last, err := c.stream(ctx, http.MethodPost, "/api/prune/sweep", r, each)
	if err == nil && last.Sweep == nil {
		err = errors.New("the server sent no sweep")
	}
	return last, err
}

// Merge merges a model's adapter into it, calling each with progress.
func (c *Client) Merge(ctx context.Context, r MergeRequest, each func(Progress)) (Progress, error) {
	last, err := c.stream(ctx, http.MethodPost, "/api/prune/merge", r, each)
	if err == nil && last.Merged == nil {
		err = errors.New("the server sent no result")
	}
	return last, err
}

// Report returns the report of a job that is done. format is "json", "md",
// "html", "txt", "svg" or "png".
func (c *Client) Report(ctx context.Context, id, format string) ([]byte, error) {
	resp, err := c.do(ctx, http.MethodGet, "/api/prune/jobs/"+url.PathEscape(id)+"/report."+format, nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// Plan asks which layers would go by the kept profile, or by traffic.
func (c *Client) Plan(ctx context.Context, r PruneRequest) (plugin.Plan, error) {
	var p plugin.Plan
	err := c.call(ctx, http.MethodPost, "/api/prune/plan", r, &p)
	return p, err
}

// Heatmap returns a drawing of the kept profile, or of that of traffic. format is "png"
// or "svg". With a selection in r, the layers it would remove are marked.
func (c *Client) Heatmap(ctx context.Context, r PruneRequest, format string) ([]byte, error) {
	q := url.Values{}
	if r.Drop != nil {
		q.Set("drop", fmt.Sprint(*r.Drop))
	}
	if r.Layers != nil {
		q.Set("layers", fmt.Sprint(*r.Layers))
	}
	if r.Corpus != nil {
		q.Set("corpus", r.Corpus.Name)
	}
	for k, v := range map[string]string{"range": r.Range, "criterion": r.Criterion, "tokens": r.Tokens, "protect": r.Protect} {
		if v != "" {
			q.Set(k, v)
		}
	}
	resp, err := c.do(ctx, http.MethodGet, "/api/prune/profile/"+r.Model+"."+format, q, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// Jobs lists the server's jobs, newest first.
func (c *Client) Jobs(ctx context.Context) ([]Job, error) {
	var out struct{ Jobs []Job }
	err := c.call(ctx, http.MethodGet, "/api/prune/jobs", nil, &out)
	return out.Jobs, err
}

// Join follows a running job, or tells how a kept one ended.
func (c *Client) Join(ctx context.Context, id string, each func(Progress)) (Progress, error) {
	return c.stream(ctx, http.MethodGet, "/api/prune/jobs/"+url.PathEscape(id), nil, each)
}

// Cancel ends a job and deletes its work files.
func (c *Client) Cancel(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/api/prune/jobs/"+url.PathEscape(id), nil, nil)
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.do(ctx, method, path, nil, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}

// stream follows an NDJSON answer and returns its last line.
func (c *Client) stream(ctx context.Context, method, path string, in any, each func(Progress)) (Progress, error) {
	var last Progress
	resp, err := c.do(ctx, method, path, nil, in)
	if err != nil {
		return last, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		last = Progress{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			return last, fmt.Errorf("read the server's progress: %w", err)
		}
		if last.Error != "" {
			return last, &StatusError{Code: last.Code, Message: last.Error}
		}
		each(last)
	}
	if ctx.Err() != nil {
		return last, ctx.Err()
	}
	if err := lines.Err(); err != nil {
		return last, fmt.Errorf("%w: %w", ErrLost, err)
	}
	if last.Status != "success" {
		return last, fmt.Errorf("%w before the job ended", ErrLost)
	}
	return last, nil
}

func (c *Client) do(ctx context.Context, method, path string, q url.Values, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	u := c.base.JoinPath(path)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reach the server: %w; is `pare serve` running?", err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, statusError(resp)
}

func statusError(resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var said struct{ Error string }
	if json.Unmarshal(b, &said) == nil && said.Error != "" {
		return &StatusError{Code: resp.StatusCode, Message: said.Error}
	}
	if resp.StatusCode == http.StatusNotFound {
		return &StatusError{Code: resp.StatusCode, Message: "the server at this address is not Pare's; stop the other one and start `pare serve`"}
	}
	return &StatusError{Code: resp.StatusCode, Message: strings.TrimSpace(resp.Status + " " + string(b))}
}
