package host

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"
	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/envconfig"

	"pare/host/live"
	"pare/host/score"
	"pare/host/trace"
	"pare/host/trace/wire"
	"pare/plugin"
)

// A Server is Pare's part of a serving process.
type Server struct {
	children *children
	tap      *trace.Server
	live     *live.Tracer
	scorer   *score.Pool
	jobs     *jobs
	lock     *flock.Flock
	socket   string // folder of the tap's socket
	stop     chan os.Signal
}

// Start gets everything ready and puts Pare's routes on http.DefaultServeMux,
// which Ollama's server serves. It must be called before that server starts,
// and starts nothing that costs anything: the plugin process waits for the
// first job, and runners measure only while a job traces them or, of their passes a
// share from 0 to 1, if their model's traffic is traced.
func Start(log *slog.Logger, share float64) (*Server, error) {
	if !(share >= 0 && share <= 1) {
		return nil, fmt.Errorf("--trace %g: give the share of the forward passes to measure, from 0 to 1", share)
	}
	s := &Server{stop: make(chan os.Signal, 1)}
	if err := s.start(log, share); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(log *slog.Logger, share float64) (err error) {
	useInstalledLibraries(log)
	folder := filepath.Join(envconfig.Models(), "pare")
	if s.lock, err = lockFolder(folder); err != nil {
		return err
	}
	if err := s.listen(filepath.Join(folder, "run")); err != nil {
		return err
	}
	// Ollama's scheduler starts runners with this process's environment.
	if err := os.Setenv(wire.SocketEnv, s.tap.Path()); err != nil {
		return err
	}
	if s.children, err = newChildren(s.socket, log); err != nil {
		return err
	}
	if err := s.traceTraffic(folder, share, log); err != nil {
		return err
	}
	ollama := api.NewClient(loopback(envconfig.Host()), s.live.Own())
	s.scorer = score.NewPool(score.Config{Log: log, MakeRoom: unload(ollama, log)})
	lend := func(r *record) *lent {
		return &lent{tap: s.tap, ollama: ollama, scorer: s.scorer, folder: r.folder, model: r.Model, digest: r.Digest, adapter: r.Adapter}
	}
	if s.jobs, err = newJobs(folder, s.children.pruner, lend, s.live, log); err != nil {
		return err
	}
	handler := s.routes(envconfig.Host().Host)
	for _, p := range patterns {
		http.Handle(p, handler)
	}
	// Ollama stops at the same signals; jobs must stop first, so that they are
	// left to be resumed and do not fail for want of a runner.
	signal.Notify(s.stop, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		if _, ok := <-s.stop; ok {
			s.jobs.close()
		}
	}()
	return nil
}

// traceTraffic puts the tracer between Ollama's routes and its runners.
func (s *Server) traceTraffic(folder string, share float64, log *slog.Logger) (err error) {
	profiles := filepath.Join(folder, profilesName)
	s.live, err = live.New(live.Config{
		Tap: s.tap, Share: share, Log: log,
		Folder:   func(digest string) string { return plugin.ProfileFolder(profiles, digest) },
		Settings: filepath.Join(folder, "live.json"),
	})
	if err != nil {
		return err
	}
	// Ollama's calls to its runners go by the default client.
	http.DefaultClient.Transport = s.live.Transport(http.DefaultTransport)
	labelled := s.live.Label(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ollama, _ := http.DefaultServeMux.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/"}})
		ollama.ServeHTTP(w, r)
	}))
	// The bare names too: for want of them the mux would redirect to the folders.
	for _, p := range []string{"/api/", "/api", "/v1/", "/v1"} {
		http.Handle(p, labelled)
	}
	return nil
}

// Close stops the jobs, which can be resumed, and ends the plugin.
func (s *Server) Close() {
	signal.Stop(s.stop)
	close(s.stop)
	if s.jobs != nil {
		s.jobs.close()
	}
	if s.children != nil {
		s.children.close()
	}
	if s.scorer != nil {
		s.scorer.Close()
	}
	if s.live != nil {
		s.live.Close()
	}
	if s.tap != nil {
		s.tap.Close()
	}
	if s.socket != "" {
		os.RemoveAll(s.socket)
	}
	if s.lock != nil {
		s.lock.Unlock()
	}
}

// lockFolder makes sure that one server at a time works on the jobs of a store.
func lockFolder(folder string) (*flock.Flock, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make Pare's folder beside the models: %w; Pare keeps its jobs there: run it as a user who may write there, or set OLLAMA_MODELS", err)
	}
	l := flock.New(filepath.Join(folder, "lock"))
	locked, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	if !locked {
		return nil, fmt.Errorf("another `pare serve` works on %s; stop it, or give this one a store of its own with OLLAMA_MODELS", filepath.Dir(folder))
	}
	return l, nil
}

// listen opens the tap's socket in a folder, or, where that is too long a path
// for a socket or on a file system that has none, in a temporary one.
func (s *Server) listen(folder string) (err error) {
	os.RemoveAll(folder) // of a server that was killed
	s.socket = folder
	if s.tap, err = trace.Listen(folder); err == nil {
		return nil
	}
	os.RemoveAll(folder)
	if s.socket, err = os.MkdirTemp("", "pare-"); err != nil {
		return fmt.Errorf("make a folder for the tap's socket: %w", err)
	}
	s.tap, err = trace.Listen(s.socket)
	return err
}

// loopback is where a server that listens on the host of u is reached from this machine. It speaks
// HTTP without a path, whatever a proxy before it does that clients are told of.
func loopback(u *url.URL) *url.URL {
	address := u.Host
	if host, port, err := net.SplitHostPort(address); err == nil {
		if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() || host == "" {
			address = net.JoinHostPort("127.0.0.1", port)
		}
	}
	return &url.URL{Scheme: "http", Host: address}
}
