package plugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"pare/plugin/internal/pb"
)

// handshake keeps a plugin from being run by hand or by a server that speaks
// another version of the contract.
var handshake = goplugin.HandshakeConfig{
	ProtocolVersion:  4,
	MagicCookieKey:   "PARE_PLUGIN",
	MagicCookieValue: "layers-that-change-least",
}

const (
	prunerName = "pruner"
	maxMessage = 256 << 20 // bytes; the largest corpus that the server takes, and its digests, fit four times
)

// grpcPlugin joins the adapters to go-plugin.
type grpcPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	impl Pruner
}

func (p *grpcPlugin) GRPCServer(b *goplugin.GRPCBroker, s *grpc.Server) error {
	pb.RegisterPrunerServer(s, &prunerServer{impl: p.impl, broker: b})
	return nil
}

func (p *grpcPlugin) GRPCClient(_ context.Context, b *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return &prunerClient{client: pb.NewPrunerClient(conn), broker: b}, nil
}

// Serve is the main function of a plugin. It returns when the server is done
// with the plugin, and ends the process when the server itself is gone. What the
// plugin logs with slog reaches the server's log; what it prints is dropped.
func Serve(p Pruner) {
	go exitWithParent()
	slog.SetDefault(slog.New(newLineHandler(os.Stderr)))
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         goplugin.PluginSet{prunerName: &grpcPlugin{impl: p}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(maxMessage))...)
		},
	})
}

// parentEnv tells a plugin which process started it.
const parentEnv = "PARE_PLUGIN_PARENT"

// exitWithParent ends this process soon after the one that started it is gone,
// so that a killed server leaves nothing behind.
func exitWithParent() {
	parent, err := strconv.Atoi(os.Getenv(parentEnv))
	if err != nil {
		parent = os.Getppid()
	}
	for os.Getppid() == parent {
		time.Sleep(300 * time.Millisecond)
	}
	os.Exit(1)
}

// hugePages has glibc ask the kernel for pages of 2 MB. A training step takes a
// gigabyte afresh, which in pages of 4 KB costs 6 to 8% of its time.
const hugePages = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1"

// maxSocketFolder is the longest path of a folder for sockets, in bytes: a socket's may
// have about 100, and the names below the folder take 36.
const maxSocketFolder = 64

// A Process is a running plugin.
type Process struct {
	Pruner
	client  *goplugin.Client
	sockets string // folder of its own, which a killed process does not clear
}

// Launch starts the plugin at path after checking that its SHA-256, in hex, is
// the given one. Its sockets stand below folder, or, where that is "" or too long a
// path for a socket, in a temporary one. Its log goes to log, which is safe to share.
func Launch(path, checksum, folder string, log *slog.Logger) (*Process, error) {
	sum, err := hex.DecodeString(checksum)
	if err != nil || len(sum) != sha256.Size {
		return nil, Errorf(Unavailable, "start plugin %s: its expected SHA-256 is not known; build with make, or set PARE_PLUGIN_SHA256 to the output of sha256sum", path)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, Errorf(Unavailable, "start plugin: %w; put pare-plugin beside pare, or set PARE_PLUGIN to its path", err)
	}
	if len(folder) > maxSocketFolder {
		folder = ""
	}
	sockets, err := os.MkdirTemp(folder, "plugin-")
	if err != nil {
		return nil, Errorf(Unavailable, "start plugin %s: %w", path, err)
	}
	cmd := exec.Command(path)
	cmd.Env = append([]string{hugePages}, os.Environ()...) // which wins
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", parentEnv, os.Getpid()), goplugin.EnvUnixSocketDir+"="+sockets)
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          goplugin.PluginSet{prunerName: &grpcPlugin{}},
		Cmd:              cmd,
		SkipHostEnv:      true,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		SecureConfig:     &goplugin.SecureConfig{Checksum: sum, Hash: sha256.New()},
		AutoMTLS:         true,
		Logger:           slogLogger(log),
		SyncStdout:       io.Discard,
		SyncStderr:       io.Discard,
		GRPCDialOptions:  []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage))},
	})
	pruner, err := dispense(client)
	if err != nil {
		client.Kill()
		os.RemoveAll(sockets)
		if errors.Is(err, goplugin.ErrChecksumsDoNotMatch) {
			return nil, Errorf(Unavailable, "start plugin %s: it is not the plugin this server was built with (its SHA-256 differs); build both again with make", path)
		}
		return nil, Errorf(Unavailable, "start plugin %s: %w", path, err)
	}
	return &Process{Pruner: pruner, client: client, sockets: sockets}, nil
}

func dispense(client *goplugin.Client) (Pruner, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(prunerName)
	if err != nil {
		return nil, err
	}
	p, ok := raw.(Pruner)
	if !ok {
		return nil, fmt.Errorf("plugin gave a %T", raw)
	}
	return p, nil
}

// Describe implements [Pruner], as do the methods below. A call that loses the
// process leaves no doubt behind: the process has ended, and Exited says so.
func (p *Process) Describe(ctx context.Context) (Description, error) {
	return alive(ctx, p, func() (Description, error) { return p.Pruner.Describe(ctx) })
}

// Profile implements [Pruner].
func (p *Process) Profile(ctx context.Context, r ProfileRequest, h Host, event func(Event)) (Profile, error) {
	return alive(ctx, p, func() (Profile, error) { return p.Pruner.Profile(ctx, r, h, event) })
}

// Plan implements [Pruner].
func (p *Process) Plan(ctx context.Context, r PlanRequest) (Plan, error) {
	return alive(ctx, p, func() (Plan, error) { return p.Pruner.Plan(ctx, r) })
}

// Prune implements [Pruner].
func (p *Process) Prune(ctx context.Context, j Job, h Host, event func(Event)) (Report, error) {
	return alive(ctx, p, func() (Report, error) { return p.Pruner.Prune(ctx, j, h, event) })
}

// Evaluate implements [Pruner].
func (p *Process) Evaluate(ctx context.Context, r EvaluateRequest, h Host, event func(Event)) (Evaluation, error) {
	return alive(ctx, p, func() (Evaluation, error) { return p.Pruner.Evaluate(ctx, r, h, event) })
}

// Sweep implements [Pruner].
func (p *Process) Sweep(ctx context.Context, r SweepRequest, h Host, event func(Event)) (Sweep, error) {
	return alive(ctx, p, func() (Sweep, error) { return p.Pruner.Sweep(ctx, r, h, event) })
}

// Merge implements [Pruner].
func (p *Process) Merge(ctx context.Context, r MergeRequest, h Host, event func(Event)) (Merged, error) {
	return alive(ctx, p, func() (Merged, error) { return p.Pruner.Merge(ctx, r, h, event) })
}

// alive makes a call unless the process has ended: go-plugin would open a socket for it
// and leave that behind.
func alive[T any](ctx context.Context, p *Process, call func() (T, error)) (T, error) {
	if p.client.Exited() {
		var none T
		return none, ErrLost
	}
	v, err := call()
	return v, p.bury(ctx, err)
}

// bury makes sure of the end of a process that err says is lost: its connection
// ends before the process is seen to, and whoever asks in between would be sent
// to it again. Another call that this cuts off has lost the process, too.
func (p *Process) bury(ctx context.Context, err error) error {
	if errors.Is(err, ErrLost) {
		p.Kill()
	} else if errors.Is(err, context.Canceled) && ctx.Err() == nil && p.client.Exited() {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// Exited reports whether the process has ended.
func (p *Process) Exited() bool { return p.client.Exited() }

// Pid is the process's number.
func (p *Process) Pid() int {
	if r := p.client.ReattachConfig(); r != nil {
		return r.Pid
	}
	return 0
}

// Kill ends the process, gently first.
func (p *Process) Kill() {
	p.client.Kill()
	os.RemoveAll(p.sockets)
}
