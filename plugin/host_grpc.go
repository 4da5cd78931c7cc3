package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

func (s *hostServer) Tokenize(ctx context.Context, r *pb.TokenizeRequest) (*pb.TokenizeReply, error) {
	texts, err := s.impl.Tokenize(ctx, r.GetModel(), r.GetTexts())
	if err != nil {
		return nil, toStatus(err)
	}
	return tokensToPB(texts), nil
}

func (s *hostServer) Score(r *pb.ScoreRequest, stream pb.Host_ScoreServer) error {
	return toStatus(s.impl.Score(stream.Context(), scoreRequestFromPB(r), func(v Score) error {
		return stream.Send(scoreToPB(v))
	}))
}

func (s *hostServer) Observe(r *pb.ObserveRequest, stream pb.Host_ObserveServer) error {
	return toStatus(s.impl.Observe(stream.Context(), observeRequestFromPB(r), func(o Observation) error {
		return stream.Send(observationToPB(o))
	}))
}

func (s *hostServer) Transcribe(ctx context.Context, r *pb.TranscribeRequest) (*pb.TranscribeReply, error) {
	transcripts, err := s.impl.Transcribe(ctx, r.GetModel(), chatsFromPB(r.GetChats()))
	if err != nil {
		return nil, toStatus(err)
	}
	return transcriptsToPB(transcripts), nil
}

func (s *hostServer) Generate(r *pb.GenerateRequest, stream pb.Host_GenerateServer) error {
	return toStatus(s.impl.Generate(stream.Context(), generateRequestFromPB(r), func(a Answer) error {
		return stream.Send(answerToPB(a))
	}))
}

func (s *hostServer) Footprint(ctx context.Context, r *pb.FootprintRequest) (*pb.FootprintReply, error) {
	f, err := s.impl.Footprint(ctx, r.GetModel(), variantFromPB(r.GetVariant()))
	if err != nil {
		return nil, toStatus(err)
	}
	return footprintToPB(f), nil
}

func (s *hostServer) Floats(ctx context.Context, r *pb.FloatsRequest) (*pb.FloatsReply, error) {
	w, err := s.impl.Floats(ctx, r.GetType(), r.GetData())
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.FloatsReply{Floats: w}, nil
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
	return receive(ctx, stream.Recv, func(m *pb.TraceDelta) error {
		d := deltaFromPB(m)
		if err := d.Validate(); err != nil {
			return err
		}
		return each(d)
	})
}

func (c *hostClient) Tokenize(ctx context.Context, model string, texts []string) ([][]int32, error) {
	reply, err := c.client.Tokenize(ctx, &pb.TokenizeRequest{Model: model, Texts: texts})
	if err != nil {
		return nil, fromStatus(ctx, err)
	}
	tokens := tokensFromPB(reply)
	if len(tokens) != len(texts) {
		return nil, fmt.Errorf("the server gave the tokens of %d texts, asked for %d", len(tokens), len(texts))
	}
	return tokens, nil
}

func (c *hostClient) Score(ctx context.Context, r ScoreRequest, each func(Score) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.client.Score(ctx, scoreRequestToPB(r))
	if err != nil {
		return fromStatus(ctx, err)
	}
	t := newTally(len(r.Sequences), len(r.Variants))
	err = receive(ctx, stream.Recv, func(m *pb.ScoreReply) error {
		s := scoreFromPB(m)
		if err := s.Validate(r); err != nil {
			return err
		}
		if err := t.count(s.Sequence, s.Variant); err != nil {
			return err
		}
		return each(s)
	})
	return cmp.Or(err, t.complete())
}

func (c *hostClient) Observe(ctx context.Context, r ObserveRequest, each func(Observation) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.client.Observe(ctx, observeRequestToPB(r))
	if err != nil {
		return fromStatus(ctx, err)
	}
	t := newTally(len(r.Sequences), 1)
	err = receive(ctx, stream.Recv, func(m *pb.Observation) error {
		o := observationFromPB(m)
		if _, err := o.Validate(r); err != nil {
			return err
		}
		if err := t.count(o.Sequence, 0); err != nil {
			return err
		}
		return each(o)
	})
	return cmp.Or(err, t.complete())
}

func (c *hostClient) Transcribe(ctx context.Context, model string, chats [][]Message) ([]Transcript, error) {
	reply, err := c.client.Transcribe(ctx, &pb.TranscribeRequest{Model: model, Chats: chatsToPB(chats)})
	if err != nil {
		return nil, fromStatus(ctx, err)
	}
	transcripts := transcriptsFromPB(reply)
	if len(transcripts) != len(chats) {
		return nil, fmt.Errorf("the server transcribed %d chats, asked for %d", len(transcripts), len(chats))
	}
	for i, t := range transcripts {
		if len(t.Answer) != len(t.Tokens) {
			return nil, fmt.Errorf("the server marked %d tokens of chat %d, which has %d", len(t.Answer), i, len(t.Tokens))
		}
	}
	return transcripts, nil
}

func (c *hostClient) Generate(ctx context.Context, r GenerateRequest, each func(Answer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.client.Generate(ctx, generateRequestToPB(r))
	if err != nil {
		return fromStatus(ctx, err)
	}
	t := newTally(len(r.Prompts), len(r.Variants))
	err = receive(ctx, stream.Recv, func(m *pb.Answer) error {
		a := answerFromPB(m)
		if err := a.Validate(r); err != nil {
			return err
		}
		if err := t.count(a.Prompt, a.Variant); err != nil {
			return err
		}
		return each(a)
	})
	return cmp.Or(err, t.complete())
}

func (c *hostClient) Footprint(ctx context.Context, model string, v Variant) (Footprint, error) {
	reply, err := c.client.Footprint(ctx, &pb.FootprintRequest{Model: model, Variant: variantToPB(v)})
	if err != nil {
		return Footprint{}, fromStatus(ctx, err)
	}
	return footprintFromPB(reply), nil
}

func (c *hostClient) Floats(ctx context.Context, kind uint32, data []byte) ([]float32, error) {
	reply, err := c.client.Floats(ctx, &pb.FloatsRequest{Type: kind, Data: data})
	if err != nil {
		return nil, fromStatus(ctx, err)
	}
	return reply.GetFloats(), nil
}

func (c *hostClient) Register(ctx context.Context, r RegisterRequest) (Model, error) {
	m, err := c.client.Register(ctx, registerToPB(r))
	if err != nil {
		return Model{}, fromStatus(ctx, err)
	}
	return modelFromPB(m), nil
}

// receive hands each message of a stream on until it ends.
func receive[M any](ctx context.Context, recv func() (M, error), each func(M) error) error {
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fromStatus(ctx, err)
		}
		if err := each(m); err != nil {
			return err
		}
	}
}
