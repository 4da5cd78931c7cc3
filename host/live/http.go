package live

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"

	"pare/plugin/traffic"
)

// LabelHeader is that of a request by which its traffic is told apart.
const LabelHeader = "X-Pare-Label"

// ownHeader marks Pare's own requests to Ollama, with a value that only this process
// knows.
const ownHeader = "X-Pare-Own"

type tagKey struct{}

// Label reads the label of a request, which next then handles. Ollama makes its
// request to the runner with the context of the one that it answers.
func (t *Tracer) Label(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		of := tag{label: r.Header.Get(LabelHeader), own: r.Header.Get(ownHeader) == t.own}
		if of == (tag{}) {
			next.ServeHTTP(w, r)
			return
		}
		if of.label != "" {
			if err := traffic.CheckLabel(of.label); err != nil {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				json.NewEncoder(w).Encode(map[string]string{"error": "header " + LabelHeader + ": " + err.Error()})
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tagKey{}, of)))
	})
}

// Own is a client for Pare's requests to its own server, which are no traffic.
func (t *Tracer) Own() *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Header.Set(ownHeader, t.own)
		return http.DefaultTransport.RoundTrip(r)
	})}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Transport sends requests by next, and sees those by which Ollama has a runner load a
// model or compute.
func (t *Tracer) Transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		port, err := strconv.Atoi(r.URL.Port())
		if err != nil || r.URL.Hostname() != "127.0.0.1" {
			return next.RoundTrip(r)
		}
		switch r.URL.Path {
		case "/load":
			t.setAdapted(port, hasAdapter(r))
			return next.RoundTrip(r)
		case "/completion", "/embedding":
		default:
			return next.RoundTrip(r)
		}
		m, adapted := t.byPort(port)
		if m == nil {
			return next.RoundTrip(r)
		}
		of, _ := r.Context().Value(tagKey{}).(tag)
		if adapted {
			of = tag{own: true} // no traffic of this model
		}
		m.begin(r.Context(), of)
		resp, err := next.RoundTrip(r)
		if err != nil {
			m.end(of, counts{})
			return resp, err
		}
		a := &answer{ReadCloser: resp.Body}
		a.end = sync.OnceFunc(func() { m.end(of, a.counts()) })
		resp.Body = a
		return resp, nil
	})
}

// hasAdapter reports whether a request has a runner load one beside the model.
func hasAdapter(r *http.Request) bool {
	if r.GetBody == nil {
		return false
	}
	body, err := r.GetBody()
	if err != nil {
		return false
	}
	defer body.Close()
	var load struct{ LoraPath []string }
	return json.NewDecoder(body).Decode(&load) == nil && len(load.LoraPath) > 0
}

// An answer of a runner is read by Ollama. Its end, where the tokens are counted, is
// kept.
type answer struct {
	io.ReadCloser
	tail []byte
	end  func()
}

const tailBytes = 4 << 10

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	a.tail = append(a.tail, p[:n]...)
	if over := len(a.tail) - tailBytes; over > tailBytes {
		a.tail = append(a.tail[:0], a.tail[over:]...)
	}
	return n, err
}

func (a *answer) Close() error {
	a.end()
	return a.ReadCloser.Close()
}

// Counts are the tokens of a request, as its runner reports them.
type counts struct{ prompt, generated int64 }

var (
	promptCount    = regexp.MustCompile(`[,{]"prompt_eval_count":(\d+)`)
	generatedCount = regexp.MustCompile(`[,{]"eval_count":(\d+)`)
)

// counts reads them from the last line. A text that holds such a field has its quotes
// escaped.
func (a *answer) counts() counts {
	line := bytes.TrimSpace(a.tail)
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	return counts{prompt: lastNumber(promptCount, line), generated: lastNumber(generatedCount, line)}
}

func lastNumber(re *regexp.Regexp, line []byte) int64 {
	found := re.FindAllSubmatch(line, -1)
	if len(found) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(string(found[len(found)-1][1]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
