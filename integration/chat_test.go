package integration

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pare/integration/tinymodel"
)

// TestChat tries a cut on a terminal.
func TestChat(t *testing.T) {
	s := startServer(t)
	s.createTiny("llama", tinymodel.Config{Architecture: "llama"})
	c := s.talk("try", "llama", "--drop", "2-3", "--temperature", "0", "--num-predict", "2000")
	c.expect("without layers 2-3: 2 of 8 layers are left out as it runs, and nothing was written")
	c.prompt()
	c.say("the light of")
	c.expect("\n")
	time.Sleep(50 * time.Millisecond) // the terminal is no longer read for keys
	c.send("\x03")
	c.expect("^C") // shown by the terminal, as it answers
	c.prompt()
	for line, want := range map[string]string{
		"/whole": "the whole model answers", "/clear": "is forgotten", "/?": "/bye", "/nonsense": "There is no /nonsense",
	} {
		c.say(line)
		c.expect(want)
		c.prompt()
	}
	c.send("\x03")
	c.expect("/bye leaves")
	c.prompt()
	c.send("\x04")
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// A talk is a command as a person on a terminal sees it.
type talk struct {
	tb   testing.TB
	cmd  *exec.Cmd
	tty  *os.File // the person's end
	seen chan string
	text string // seen, and not expected yet
}

// talk runs a command line against the server, with a terminal at both ends.
func (s *server) talk(args ...string) *talk {
	s.tb.Helper()
	ours, theirs := terminal(s.tb)
	cmd := exec.Command(fromMake(s.tb, "PARE_BIN"), args...)
	cmd.Env, cmd.Dir = append(s.environ(), "TERM=xterm"), s.home
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	theirs.Close()
	t := &talk{tb: s.tb, cmd: cmd, tty: ours, seen: make(chan string)}
	s.tb.Cleanup(func() { cmd.Process.Kill() })
	go t.read()
	return t
}

// read passes on what appears, until the command has ended. Asked where the
// cursor is, it answers as terminals do.
func (t *talk) read() {
	defer close(t.seen)
	b := make([]byte, 4096)
	for {
		n, err := t.tty.Read(b)
		if err != nil {
			return
		}
		if strings.Contains(string(b[:n]), "\x1b[6n") {
			t.tty.WriteString("\x1b[1;1R")
		}
		t.seen <- string(b[:n])
	}
}

// expect waits for a text to appear, and takes what there is up to its end.
func (t *talk) expect(want string) {
	t.tb.Helper()
	limit := time.After(30 * time.Second)
	for {
		if _, rest, ok := strings.Cut(t.text, want); ok {
			t.text = rest
			return
		}
		select {
		case more, ok := <-t.seen:
			if !ok {
				t.tb.Fatalf("it ended without %q: %q", want, t.text)
			}
			t.text += more
		case <-limit:
			t.tb.Fatalf("no %q appears: %q", want, t.text)
		}
	}
}

// prompt waits until the person is asked.
func (t *talk) prompt() { t.tb.Helper(); t.expect(">>> ") }

// say types a line.
func (t *talk) say(line string) { t.send(line + "\r") }

func (t *talk) send(keys string) {
	if _, err := t.tty.WriteString(keys); err != nil {
		t.tb.Fatal(err)
	}
}
