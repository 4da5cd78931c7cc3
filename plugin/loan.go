package plugin

import (
	"context"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"pare/plugin/internal/pb"
)

// unwinding bounds how long a call that was cancelled may take to come to its end
// in the plugin.
var unwinding = 10 * time.Second

// A loan is a Host that is served to a plugin for one call. The plugin stays
// connected to it for as long as its side of the call lasts, and that is longer
// than the caller's where the call is cancelled.
type loan struct {
	mu          sync.Mutex
	server      *grpc.Server
	back        bool
	connections int
	alone       chan struct{} // closed while there are none
}

// lend serves h to the plugin under a number of the broker, until takeBack.
// When that returns h is done with what the plugin asked of it and, unless it says otherwise, the
// plugin with the call and its folders.
func lend(broker *goplugin.GRPCBroker, h Host) (number uint32, takeBack func() (done bool)) {
	l := &loan{alone: make(chan struct{})}
	close(l.alone)
	number = broker.NextId()
	go broker.AcceptAndServe(number, func(opts []grpc.ServerOption) *grpc.Server {
		s := grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(maxMessage), grpc.WaitForHandlers(true), grpc.StatsHandler(l))...)
		pb.RegisterHostServer(s, &hostServer{impl: h})
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.back {
			s.Stop()
		}
		l.server = s
		return s
	})
	return number, l.takeBack
}

func (l *loan) takeBack() (done bool) {
	l.mu.Lock()
	l.back = true
	server, alone := l.server, l.alone
	l.mu.Unlock()
	if server == nil {
		return true
	}
	defer server.Stop()
	select {
	case <-alone:
		return true
	case <-time.After(unwinding):
		return false
	}
}

// HandleConn implements stats.Handler: it counts connections.
func (l *loan) HandleConn(_ context.Context, s stats.ConnStats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch s.(type) {
	case *stats.ConnBegin:
		if l.connections++; l.connections == 1 {
			l.alone = make(chan struct{})
		}
	case *stats.ConnEnd:
		if l.connections--; l.connections == 0 {
			close(l.alone)
		}
	}
}

// TagConn implements stats.Handler, as do the methods below: nothing to do.
func (l *loan) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (l *loan) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (l *loan) HandleRPC(context.Context, stats.RPCStats)                         {}
