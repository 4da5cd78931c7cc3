package plugin

import (
	"context"
	"errors"
	"io"

	"pare/plugin/internal/pb"
)

// hostServer answers a plugin's calls with a Host, in the server.
type hostServer struct {
	pb.UnimplementedHostServer
	impl Host
}

func (s *hostServer) Model(ctx context.Context, r *pb.ModelRequest) (*pb.ModelReply, error) {
	m, err := s.impl.Model(ctx, r.GetName())
	if err != nil {
		return nil, toStatus(err)
	}
	return modelToPB(m), nil
}

func (s *hostServer) Trace(r *pb.TraceRequest, stream pb.Host_TraceServer) error {
	return toStatus(s.impl.Trace(stream.Context(), traceRequestFromPB(r), func(d TraceDelta) error {
		return stream.Send(deltaToPB(d))
	}))
}

func (s *hostServer) Register(ctx context.Context, r *pb.RegisterRequest) (*pb.ModelReply, error) {
	m, err := s.impl.Register(ctx, registerFromPB(r))
	if err != nil {
		return nil, toStatus(err)
	}
	return modelToPB(m), nil
}

// hostClient is the Host in the server, as a plugin sees it.
type hostClient struct{ client pb.HostClient }

func (c *hostClient) Model(ctx context.Context, name string) (Model, error) {
	m, err := c.client.Model(ctx, &pb.ModelRequest{Name: name})
	if err != nil {
		return Model{}, fromStatus(ctx, err)
	}
	return modelFromPB(m), nil
}

func (c *hostClient) Trace(ctx context.Context, r TraceRequest, each func(TraceDelta) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.client.Trace(ctx, traceRequestToPB(r))
	if err != nil {
		return fromStatus(ctx, err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fromStatus(ctx, err)
		}
		d := deltaFromPB(m)
		if err := d.Validate(); err != nil {
			return err
		}
		if err := each(d); err != nil {
			return err
		}
	}
}

func (c *hostClient) Register(ctx context.Context, r RegisterRequest) (Model, error) {
	m, err := c.client.Register(ctx, registerToPB(r))
	if err != nil {
		return Model{}, fromStatus(ctx, err)
	}
	return modelFromPB(m), nil
}
