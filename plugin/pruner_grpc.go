package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

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
	return &pb.Description{Name: d.Name, Version: d.Version, Criteria: d.Criteria, Repairs: d.Repairs}, nil
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
	return s.answer(c.GetHost(), stream, func(ctx context.Context, h Host, event func(Event)) (any, error) {
		return s.impl.Profile(ctx, profileRequestFromPB(c.GetRequest()), h, event)
	})
}

func (s *prunerServer) Prune(c *pb.PruneCall, stream pb.Pruner_PruneServer) error {
	return s.answer(c.GetHost(), stream, func(ctx context.Context, h Host, event func(Event)) (any, error) {
		return s.impl.Prune(ctx, jobFromPB(c.GetJob()), h, event)
	})
}

func (s *prunerServer) Evaluate(c *pb.EvaluateCall, stream pb.Pruner_EvaluateServer) error {
	return s.answer(c.GetHost(), stream, func(ctx context.Context, h Host, event func(Event)) (any, error) {
		return s.impl.Evaluate(ctx, evaluateRequestFromPB(c.GetRequest()), h, event)
	})
}

func (s *prunerServer) Sweep(c *pb.SweepCall, stream pb.Pruner_SweepServer) error {
	return s.answer(c.GetHost(), stream, func(ctx context.Context, h Host, event func(Event)) (any, error) {
		return s.impl.Sweep(ctx, sweepRequestFromPB(c.GetRequest()), h, event)
	})
}

func (s *prunerServer) Merge(c *pb.MergeCall, stream pb.Pruner_MergeServer) error {
	return s.answer(c.GetHost(), stream, func(ctx context.Context, h Host, event func(Event)) (any, error) {
		return s.impl.Merge(ctx, mergeRequestFromPB(c.GetRequest()), h, event)
	})
}

// answer runs call with the Host that the caller serves at the broker's number,
// and sends its events and, last, what it returns.
func (s *prunerServer) answer(number uint32, stream grpc.ServerStreamingServer[pb.Progress], call func(context.Context, Host, func(Event)) (any, error)) error {
	conn, err := s.broker.Dial(number)
	if err != nil {
		return toStatus(fmt.Errorf("reach the server from the plugin: %w", err))
	}
	defer conn.Close()
	result, err := call(stream.Context(), &hostClient{pb.NewHostClient(conn)}, func(e Event) {
		// A lost stream ends its context, which the implementation watches.
		_ = stream.Send(&pb.Progress{Event: eventToPB(e)})
	})
	if err != nil {
		return toStatus(err)
	}
	b, err := json.Marshal(result)
	if err != nil {
		return toStatus(fmt.Errorf("encode %T: %w", result, err))
	}
	return stream.Send(&pb.Progress{ResultJson: b})
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
	return Description{Name: d.GetName(), Version: d.GetVersion(), Criteria: d.GetCriteria(), Repairs: d.GetRepairs()}, nil
}

func (c *prunerClient) Plan(ctx context.Context, r PlanRequest) (Plan, error) {
	reply, err := c.client.Plan(ctx, planRequestToPB(r))
	if err != nil {
		return Plan{}, fromStatus(ctx, err)
	}
	return decode[Plan](reply.GetPlanJson())
}

func (c *prunerClient) Profile(ctx context.Context, r ProfileRequest, h Host, event func(Event)) (Profile, error) {
	return ask[Profile](ctx, c.broker, h, event, func(ctx context.Context, host uint32) (progress, error) {
		return c.client.Profile(ctx, &pb.ProfileCall{Host: host, Request: profileRequestToPB(r)})
	})
}

func (c *prunerClient) Prune(ctx context.Context, j Job, h Host, event func(Event)) (Report, error) {
	return ask[Report](ctx, c.broker, h, event, func(ctx context.Context, host uint32) (progress, error) {
		return c.client.Prune(ctx, &pb.PruneCall{Host: host, Job: jobToPB(j)})
	})
}

func (c *prunerClient) Evaluate(ctx context.Context, r EvaluateRequest, h Host, event func(Event)) (Evaluation, error) {
	return ask[Evaluation](ctx, c.broker, h, event, func(ctx context.Context, host uint32) (progress, error) {
		return c.client.Evaluate(ctx, &pb.EvaluateCall{Host: host, Request: evaluateRequestToPB(r)})
	})
}

func (c *prunerClient) Sweep(ctx context.Context, r SweepRequest, h Host, event func(Event)) (Sweep, error) {
	return ask[Sweep](ctx, c.broker, h, event, func(ctx context.Context, host uint32) (progress, error) {
		return c.client.Sweep(ctx, &pb.SweepCall{Host: host, Request: sweepRequestToPB(r)})
	})
}

func (c *prunerClient) Merge(ctx context.Context, r MergeRequest, h Host, event func(Event)) (Merged, error) {
	return ask[Merged](ctx, c.broker, h, event, func(ctx context.Context, host uint32) (progress, error) {
		return c.client.Merge(ctx, &pb.MergeCall{Host: host, Request: mergeRequestToPB(r)})
	})
}

type progress = grpc.ServerStreamingClient[pb.Progress]

// ask lends h to the plugin for one call, hands the events of the call on and
// returns its result. A plugin that does not come to the end of a call that was cancelled
// is given up: it would be in the way of the next.
func ask[T any](ctx context.Context, broker *goplugin.GRPCBroker, h Host, event func(Event), call func(ctx context.Context, host uint32) (progress, error)) (result T, err error) {
	var none T
	number, takeBack := lend(broker, h)
	defer func() {
		if !takeBack() && err != nil {
			err = fmt.Errorf("%w, for it did not end a call that was cancelled: %w", ErrLost, err)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := call(ctx, number)
	if err != nil {
		return none, fromStatus(ctx, err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return none, fmt.Errorf("%w before it gave a result", ErrLost)
		}
		if err != nil {
			return none, fromStatus(ctx, err)
		}
		if b := m.GetResultJson(); b != nil {
			return decode[T](b)
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
