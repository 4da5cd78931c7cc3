package repair

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/installer"
)

// ErrNoBackend is the answer where there is nothing to train with.
var ErrNoBackend = errors.New("training needs XLA, which does not run here; closed-form repair works without")

// The environment that go-xla knows, too.
const (
	foldersVariable   = "PJRT_PLUGIN_LIBRARY_PATH" // where plugins are, before all other folders
	noInstallVariable = "GOMLX_NO_AUTO_INSTALL"    // not empty: nothing is fetched
)

// Open starts XLA on a GPU of NVIDIA's, where there is one and a plugin for it, or else
// on the CPU. Plugins are looked for in PJRT_PLUGIN_LIBRARY_PATH, beside the program,
// in the user's cache and where go-xla installs its own; if there is none, go-xla
// fetches it, unless GOMLX_NO_AUTO_INSTALL is set. Nothing is written to standard
// output, which a plugin of Pare's speaks with its server through.
func Open(log *slog.Logger) (compute.Backend, error) {
	places := folders()
	if cuda := find(places, "cuda"); cuda != "" && hasNVIDIA() {
		b, err := start(cuda)
		if err == nil {
			log.Info("training on CUDA", "plugin", cuda)
			return b, nil
		}
		log.Warn("CUDA does not start, training on the CPU", "plugin", cuda, "error", err)
	}
	cpu := find(places, "cpu")
	if cpu == "" {
		var err error
		if cpu, err = install(log); err != nil {
			return nil, fmt.Errorf("start XLA: %w (looked in %s)", err, strings.Join(places, ", "))
		}
	}
	b, err := start(cpu)
	if err != nil {
		return nil, fmt.Errorf("start XLA from %s: %w: %w", cpu, ErrNoBackend, err)
	}
	log.Info("training on the CPU", "plugin", cpu)
	return b, nil
}

// start loads the plugin at path. gomlx splits what it is given at commas.
func start(path string) (compute.Backend, error) {
	if strings.Contains(path, ",") {
		return nil, errors.New("a path with a comma cannot be loaded: move the plugin")
	}
	return xla.New(path)
}

// folders lists where plugins may be, the nearest first.
func folders() []string {
	list := filepath.SplitList(os.Getenv(foldersVariable))
	if program, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(program); err == nil {
			program = real
		}
		at := filepath.Dir(program)
		list = append(list, filepath.Join(at, "..", ".cache", "xla"), filepath.Join(at, "xla"))
	}
	if cache, err := os.UserCacheDir(); err == nil {
		list = append(list, filepath.Join(cache, "pare", "xla"))
	}
	if home, err := installer.DefaultHomeLibPath(); err == nil {
		list = append(list, filepath.Join(home, "go-xla"))
	}
	list = append(list, filepath.FromSlash("/usr/local/lib/go-xla"))
	return slices.DeleteFunc(list, func(folder string) bool { return folder == "" })
}

// find returns the path of the first plugin for a device, "cpu" or "cuda", or "". Its
// version may stand in its name; of several the last by name is taken.
func find(folders []string, device string) string {
	for _, folder := range folders {
		for _, pattern := range []string{"pjrt_c_api_" + device + "_plugin.*", "pjrt_c_api_" + device + "*_plugin.*"} {
			found, _ := filepath.Glob(filepath.Join(folder, pattern))
			for _, path := range slices.Backward(found) {
				if !slices.Contains(libraries, filepath.Ext(path)) {
					continue // a lock, or half a download
				}
				if path, err := filepath.Abs(path); err == nil {
					return path
				}
			}
		}
	}
	return ""
}

// libraries are the ends of a plugin's name on the systems that Pare runs on.
var libraries = []string{".so", ".dylib", ".dll"}

// hasNVIDIA reports whether the kernel shows a GPU of NVIDIA's. go-xla's CUDA is for
// Linux.
func hasNVIDIA() bool {
	devices, _ := filepath.Glob("/dev/nvidia[0-9]*")
	return runtime.GOOS == "linux" && len(devices) > 0
}

// install has go-xla fetch the plugin for the CPU and returns where it is.
func install(log *slog.Logger) (string, error) {
	if os.Getenv(noInstallVariable) != "" {
		return "", fmt.Errorf("%w: its plugin (pjrt_c_api_cpu_plugin.so) was not found", ErrNoBackend)
	}
	home, err := installer.DefaultHomeLibPath()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoBackend, err)
	}
	folder := filepath.Join(home, "go-xla")
	log.Info("fetching XLA's plugin for the CPU, some 100 MB, from the releases of go-xla", "folder", folder)
	if err := inSilence(func() error { return installer.CPUAutoInstall(folder, true, installer.Quiet) }); err != nil {
		return "", fmt.Errorf("%w, and it could not be fetched: %w", ErrNoBackend, err)
	}
	if path := find([]string{folder}, "cpu"); path != "" {
		return path, nil
	}
	return "", fmt.Errorf("%w: it was fetched, and is not in %s", ErrNoBackend, folder)
}

// inSilence runs f while standard output leads nowhere: the installer draws on it,
// however quiet it is told to be.
func inSilence(f func() error) error {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer nowhere.Close()
	out := os.Stdout
	os.Stdout = nowhere
	defer func() { os.Stdout = out }()
	return f()
}
