package repair

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
)

// alone is set in the environment of TestOpenAlone's child.
const alone = "PARE_TEST_ALONE"

// TestOpenAlone runs a program that has no environment and the plugin where make puts
// it, as bin/pare-plugin has. It starts XLA, computes, and writes nothing to standard
// output.
func TestOpenAlone(t *testing.T) {
	if os.Getenv(alone) != "" {
		os.Exit(computeAlone())
	}
	plugin := find(folders(), "cpu")
	if plugin == "" {
		t.Fatal("there is no XLA: make xla fetches it")
	}
	root := t.TempDir()
	for _, folder := range []string{"bin", ".cache"} {
		if err := os.Mkdir(filepath.Join(root, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Dir(plugin), filepath.Join(root, ".cache", "xla")); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(root, "bin", "program")
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, self, 0o700); err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	child := exec.Command(program, "-test.run=^TestOpenAlone$")
	child.Env = []string{alone + "=1", noInstallVariable + "=1", "HOME=" + root}
	child.Stdout, child.Stderr = &out, &log
	if err := child.Run(); err != nil {
		t.Fatalf("%v: %s", err, log.Bytes())
	}
	if out.Len() > 0 {
		t.Errorf("it wrote to standard output: %q", out.String())
	}
	if want := filepath.Join(root, ".cache", "xla"); !strings.Contains(log.String(), want) {
		t.Errorf("it did not say that the plugin is in %s: %s", want, log.Bytes())
	}
}

// computeAlone is the child: it returns its exit status.
func computeAlone() int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	b, err := Open(log)
	if err == nil {
		_, err = CallOnce(b, func(x *Node) *Node { return Add(x, x) }, float32(1))
	}
	if err != nil {
		log.Error(err.Error())
		return 1
	}
	return 0
}

// TestOpenWithoutXLA says what is missing, and what works all the same.
func TestOpenWithoutXLA(t *testing.T) {
	empty := t.TempDir()
	t.Setenv(foldersVariable, empty)
	t.Setenv(noInstallVariable, "1")
	t.Setenv("HOME", empty)
	t.Setenv("XDG_CACHE_HOME", "")
	_, err := Open(slog.New(slog.DiscardHandler))
	if !errors.Is(err, ErrNoBackend) || !strings.Contains(err.Error(), "closed-form repair works without") || !strings.Contains(err.Error(), empty) {
		t.Errorf("%v, want %v and where it looked", err, ErrNoBackend)
	}
}

// TestOpenOfADamagedPlugin is an error that names it.
func TestOpenOfADamagedPlugin(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "pjrt_c_api_cpu_plugin.so")
	if err := os.WriteFile(path, []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(foldersVariable, folder)
	if _, err := Open(slog.New(slog.DiscardHandler)); !errors.Is(err, ErrNoBackend) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, want an error about %s", err, path)
	}
}

// TestFind takes the nearest folder, there the plugin without a version in its name,
// else the last by name.
func TestFind(t *testing.T) {
	near, far := t.TempDir(), t.TempDir()
	put := func(folder, name string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	list := []string{filepath.Join(near, "missing"), near, far}
	if got := find(list, "cpu"); got != "" {
		t.Errorf("found %s where nothing is", got)
	}
	put(far, "pjrt_c_api_cpu_plugin.so")
	cuda := put(far, "pjrt_c_api_cuda13_plugin.so")
	put(near, "pjrt_c_api_cpu_v0.83.1_plugin.so")
	newer := put(near, "pjrt_c_api_cpu_v0.83.4_plugin.so")
	put(near, "pjrt_c_api_cpu_v0.99.0_plugin.so.lock") // go-xla's installer leaves it where a download failed
	if got := find(list, "cpu"); got != newer {
		t.Errorf("found %s, want %s", got, newer)
	}
	plain := put(near, "pjrt_c_api_cpu_plugin.so")
	if got := find(list, "cpu"); got != plain {
		t.Errorf("found %s, want %s", got, plain)
	}
	if got := find(list, "cuda"); got != cuda {
		t.Errorf("found %s, want %s", got, cuda)
	}
}
