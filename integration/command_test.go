package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pare/host/client"
	"pare/integration/tinymodel"
)

// exitCode is what a command ended with; 0 if it worked.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// A command is pare at work.
type command struct {
	*exec.Cmd
	errs  bytes.Buffer
	ended chan struct{}
}

// run starts a command line against the server.
func (s *server) run(args ...string) *command {
	s.tb.Helper()
	c := &command{Cmd: exec.Command(fromMake(s.tb, "PARE_BIN"), args...), ended: make(chan struct{})}
	c.Env, c.Dir, c.Stderr = s.environ(), s.home, &c.errs
	if err := c.Start(); err != nil {
		s.tb.Fatal(err)
	}
	go func() { c.Wait(); close(c.ended) }()
	return c
}

// TestCommand runs pare prune in each of the ways that it can print.
func TestCommand(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	s.write("tales.jsonl", tales)
	s.write("more.txt", more)
	prune := func(name, corpus string, more ...string) []string {
		return slices.Concat([]string{"prune", "tiny", name, "--drop", "2", "--corpus", corpus}, plain, more)
	}

	t.Run("plain", func(t *testing.T) {
		out, errs, err := s.in(t).pare(prune("plain", "tales.jsonl")...)
		want := []string{
			"tracing the model at work", "tracing the model at work: done", "computing the profile",
			"removing layers", "cutting: done", "registering plain:latest",
		}
		lines := strings.Split(strings.TrimSuffix(errs, "\n"), "\n")
		for i, line := range lines {
			if len(lines) != len(want) || !strings.HasPrefix(line, want[i]) {
				t.Fatalf("stderr is %q, want %q", lines, want)
			}
		}
		if exitCode(err) != 0 || !strings.HasPrefix(out, "tiny:latest: layers ") || strings.Contains(out+errs, "\x1b") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("json", func(t *testing.T) {
		out, errs, err := s.in(t).pare(prune("json", "tales.jsonl", "--json")...)
		lines := progressLines(t, out)
		if last := lines[len(lines)-1]; exitCode(err) != 0 || errs != "" || last.Status != "success" || last.Report == nil || last.Report.Result.Layers != 6 {
			t.Errorf("%v, stderr %q, last line %+v", err, errs, last)
		}
		out, errs, err = s.in(t).pare(prune("json", "tales.jsonl", "--json")...)
		if lines := progressLines(t, out); exitCode(err) != 1 || errs != "" || len(lines) != 1 || lines[0].Code != 409 || lines[0].Error == "" {
			t.Errorf("a taken name: %v, stderr %q, %+v", err, errs, lines)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		shown, out, err := s.in(t).onTerminal(prune("terminal", "more.txt")...)
		for _, want := range []string{"tracing the model at work", "computing the profile", "cutting 100%", "registering terminal:latest"} {
			if !strings.Contains(shown, want) {
				t.Errorf("the terminal lacks %q", want)
			}
		}
		if exitCode(err) != 0 || !strings.Contains(shown, "▕") || !strings.HasPrefix(out, "tiny:latest: layers ") {
			t.Errorf("%v\nterminal: %q\nstdout: %s", err, shown, out)
		}
	})
	t.Run("jobs", func(t *testing.T) {
		list := s.in(t).must("jobs")
		for _, want := range []string{"ID", "plain:latest", "json:latest", "terminal:latest", "2 layers", "done"} {
			if !strings.Contains(list, want) {
				t.Errorf("the list of jobs lacks %q:\n%s", want, list)
			}
		}
		id := strings.Fields(strings.Split(list, "\n")[1])[0]
		if out := s.in(t).must("jobs", "join", id); !strings.HasPrefix(out, "tiny:latest: layers ") {
			t.Errorf("joining a job that is done prints %q", out)
		}
		s.in(t).must("jobs", "cancel", id)
		if left := s.in(t).must("jobs"); strings.Contains(left, id) {
			t.Errorf("job %s is still there:\n%s", id, left)
		}
	})
	t.Run("no server", func(t *testing.T) {
		s := s.in(t)
		s.addr = freeAddress(t)
		if _, errs, err := s.pare("jobs"); exitCode(err) != 1 || !strings.Contains(errs, "is `pare serve` running?") {
			t.Errorf("%v: %s", err, errs)
		}
	})
	checkStore(t, s.models())
}

func progressLines(tb testing.TB, out string) (lines []client.Progress) {
	tb.Helper()
	for line := range strings.Lines(out) {
		var p client.Progress
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			tb.Fatalf("line %q: %v", line, err)
		}
		lines = append(lines, p)
	}
	if len(lines) == 0 {
		tb.Fatal("no line of JSON")
	}
	return lines
}

// onTerminal runs pare with stderr on a terminal and returns what that was sent.
func (s *server) onTerminal(args ...string) (shown, out string, err error) {
	s.tb.Helper()
	ours, theirs := terminal(s.tb)
	cmd := exec.Command(fromMake(s.tb, "PARE_BIN"), args...)
	var stdout, screen bytes.Buffer
	cmd.Env, cmd.Dir = append(s.environ(), "TERM=xterm"), s.home
	cmd.Stdout, cmd.Stderr = &stdout, theirs
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	theirs.Close()
	io.Copy(&screen, ours) // ends with EIO when the other side is closed
	err = cmd.Wait()
	return screen.String(), stdout.String(), err
}

// terminal opens a new pseudo-terminal of 100 columns.
func terminal(tb testing.TB) (ours, theirs *os.File) {
	tb.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ours.Close() })
	fd := int(ours.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		tb.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		tb.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 100}); err != nil {
		tb.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return ours, theirs
}
