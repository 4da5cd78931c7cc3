package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	goplugin "github.com/hashicorp/go-plugin"

	"pare/plugin/internal/pb"
)

// prunerServer answers the server's calls with a Pruner, in the plugin.
type prunerServer struct {
	pb.UnimplementedPrunerServer
	impl   Pruner
	broker *goplugin.GRPCBroker
}

func (s *prunerServer) Describe(ctx context.Context, _ *pb.Empty) (*pb.Description, error) {
	d, err := s.impl.Describe(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.Description{Name: d.Name, Version: d.Version, Criteria: d.Criteria}, nil
}

func (s *prunerServer) Plan(ctx context.Context, r *pb.PlanRequest) (*pb.PlanReply, error) {
	plan, err := s.impl.Plan(ctx, planRequestFromPB(r))
	if err != nil {
		return nil, toStatus(err)
	}
	b, err := json.Marshal(plan)
	return &pb.PlanReply{PlanJson: b}, toStatus(err)
}

func (s *prunerServer) Profile(c *pb.ProfileCall, stream pb.Pruner_ProfileServer) error {
	return s.withHost(stream.Context(), c.GetHost(), func(ctx context.Context, h Host) error {
		p, err := s.impl.Profile(ctx, profileRequestFromPB(c.GetRequest()), h, func(e Event) {
			// A lost stream ends ctx, which the implementation watches.
			_ = stream.Send(&pb.ProfileReply{Event: eventToPB(e)})
		})
		if err != nil {
			return err
		}
		b, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("encode profile: %w", err)
		}
		return stream.Send(&pb.ProfileReply{ProfileJson: b})
	})
}

func (s *prunerServer) Prune(c *pb.PruneCall, stream pb.Pruner_PruneServer) error {
	return s.withHost(stream.Context(), c.GetHost(), func(ctx context.Context, h Host) error {
		r, err := s.impl.Prune(ctx, jobFromPB(c.GetJob()), h, func(e Event) {
			_ = stream.Send(&pb.PruneReply{Event: eventToPB(e)})
		})
		if err != nil {
			return err
		}
		b, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode report: %w", err)
		}
		return stream.Send(&pb.PruneReply{ReportJson: b})
	})
}

// withHost connects to the Host that the caller serves at the broker's number
// and lends it to call.
func (s *prunerServer) withHost(ctx context.Context, number uint32, call func(context.Context, Host) error) error {
	conn, err := s.broker.Dial(number)
	if err != nil {
		return toStatus(fmt.Errorf("reach the server from the plugin: %w", err))
	}
	defer conn.Close()
	return toStatus(call(ctx, &hostClient{pb.NewHostClient(conn)}))
}

// prunerClient is a Pruner in another process, as the server sees it.
type prunerClient struct {
	client pb.PrunerClient
	broker *goplugin.GRPCBroker
}

func (c *prunerClient) Describe(ctx context.Context) (Description, error) {
	d, err := c.client.Describe(ctx, &pb.Empty{})
	if err != nil {
		return Description{}, fromStatus(ctx, err)
	}
	return Description{Name: d.GetName(), Version: d.GetVersion(), Criteria: d.GetCriteria()}, nil
}

func (c *prunerClient) Plan(ctx context.Context, r PlanRequest) (Plan, error) {
	reply, err := c.client.Plan(ctx, planRequestToPB(r))
	if err != nil {
		return Plan{}, fromStatus(ctx, err)
	}
	return decode[Plan](reply.GetPlanJson())
}

func (c *prunerClient) Profile(ctx context.Context, r ProfileRequest, h Host, event func(Event)) (Profile, error) {
	number, stop := lend(c.broker, h)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.client.Profile(ctx, &pb.ProfileCall{Host: number, Request: profileRequestToPB(r)})
	if err != nil {
		return Profile{}, fromStatus(ctx, err)
	}
	b, err := lastReply(ctx, stream.Recv, (*pb.ProfileReply).GetProfileJson, event)
	if err != nil {
		return Profile{}, err
	}
	return decode[Profile](b)
}

func (c *prunerClient) Prune(ctx context.Context, j Job, h Host, event func(Event)) (Report, error) {
	number, stop := lend(c.broker, h)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.client.Prune(ctx, &pb.PruneCall{Host: number, Job: jobToPB(j)})
	if err != nil {
		return Report{}, fromStatus(ctx, err)
	}
	b, err := lastReply(ctx, stream.Recv, (*pb.PruneReply).GetReportJson, event)
	if err != nil {
		return Report{}, err
	}
	return decode[Report](b)
}

// lastReply hands the events of a stream on and returns its result.
func lastReply[M interface{ GetEvent() *pb.Event }](ctx context.Context, recv func() (M, error), result func(M) []byte, event func(Event)) ([]byte, error) {
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w before it gave a result", ErrLost)
		}
		if err != nil {
			return nil, fromStatus(ctx, err)
		}
		if b := result(m); b != nil {
			return b, nil
		}
		event(eventFromPB(m.GetEvent()))
	}
}

func decode[T any](b []byte) (T, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("decode the plugin's answer: %w", err)
	}
	return v, nil
}
