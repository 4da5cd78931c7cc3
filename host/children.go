package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"pare/plugin"
)

// PluginSHA256 is the checksum of the pare-plugin this server was built with,
// set by the Makefile when linking.
var PluginSHA256 string

// children keeps the plugin process: started by the first call that needs it,
// and again by the first call after it has ended.
type children struct {
	path     string
	checksum string
	sockets  string // folder
	log      *slog.Logger

	mu      sync.Mutex
	process *plugin.Process
	closed  bool
}

// newChildren finds the plugin: PARE_PLUGIN with PARE_PLUGIN_SHA256, or the
// pare-plugin beside this executable. Its sockets stand in a folder that is cleared when
// the server starts.
func newChildren(sockets string, log *slog.Logger) (*children, error) {
	c := &children{path: os.Getenv("PARE_PLUGIN"), checksum: PluginSHA256, sockets: sockets, log: log}
	if sum := os.Getenv("PARE_PLUGIN_SHA256"); sum != "" {
		c.checksum = strings.TrimSpace(sum)
	}
	if c.path == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the plugin: %w", err)
		}
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		c.path = filepath.Join(filepath.Dir(exe), "pare-plugin")
	}
	return c, nil
}

// callPlugin makes a call of the plugin. If the plugin ends meanwhile, it tells again of
// the error and makes the call anew.
func callPlugin[T any](ctx context.Context, pruner func() (plugin.Pruner, error), again func(error), call func(plugin.Pruner) (T, error)) (T, error) {
	for life := 1; ; life++ {
		p, err := pruner()
		if err != nil {
			var none T
			return none, err
		}
		v, err := call(p)
		if !errors.Is(err, plugin.ErrLost) || ctx.Err() != nil {
			return v, err
		}
		if life == lives {
			return v, plugin.Errorf(plugin.Unavailable, "the plugin crashed %d times at this job: %w; the server's log has its last words", lives, err)
		}
		again(err)
	}
}

// unnoticed is for calls whose caller need not know that they were made again; the log
// tells of the plugin.
func unnoticed(error) {}

// pruner returns the running plugin, starting it if need be.
func (c *children) pruner() (plugin.Pruner, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, plugin.Errorf(plugin.Unavailable, "the server is stopping")
	}
	if c.process != nil && !c.process.Exited() {
		return c.process, nil
	}
	if c.process != nil {
		c.log.Warn("the plugin ended; starting it again", "path", c.path)
		c.process.Kill()
		c.process = nil
	}
	p, err := plugin.Launch(c.path, c.checksum, c.sockets, c.log)
	if err != nil {
		return nil, err
	}
	d, err := p.Describe(context.Background())
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("ask the plugin what it is: %w", err)
	}
	c.process = p
	c.log.Info("plugin started", "path", c.path, "pid", p.Pid(), "name", d.Name, "version", d.Version, "criteria", d.Criteria)
	return p, nil
}

// close ends the plugin for good.
func (c *children) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.process != nil {
		c.process.Kill()
		c.process = nil
	}
}
