package plugin

import "pare/plugin/internal/pb"

// Translations of what training asks of the scoring process.

func observeRequestToPB(r ObserveRequest) *pb.ObserveRequest {
	out := &pb.ObserveRequest{Model: r.Model, Variant: variantToPB(r.Variant), Top: int64(r.Top)}
	for _, s := range r.Sequences {
		out.Sequences = append(out.Sequences, &pb.Tokens{Tokens: s})
	}
	for _, p := range r.Points {
		out.Points = append(out.Points, &pb.Point{Layer: int64(p.Layer), Attended: p.Attended})
	}
	return out
}

func observeRequestFromPB(r *pb.ObserveRequest) ObserveRequest {
	out := ObserveRequest{Model: r.GetModel(), Variant: variantFromPB(r.GetVariant()), Top: int(r.GetTop())}
	for _, s := range r.GetSequences() {
		out.Sequences = append(out.Sequences, s.GetTokens())
	}
	for _, p := range r.GetPoints() {
		out.Points = append(out.Points, Point{Layer: int(p.GetLayer()), Attended: p.GetAttended()})
	}
	return out
}

func observationToPB(o Observation) *pb.Observation {
	out := &pb.Observation{Sequence: int64(o.Sequence), TopTokens: o.TopTokens, TopLogProb: o.TopLogProb, Seconds: o.Seconds}
	for _, s := range o.States {
		out.States = append(out.States, &pb.State{X: s})
	}
	return out
}

func observationFromPB(o *pb.Observation) Observation {
	out := Observation{Sequence: int(o.GetSequence()), TopTokens: o.GetTopTokens(), TopLogProb: o.GetTopLogProb(), Seconds: o.GetSeconds()}
	for _, s := range o.GetStates() {
		out.States = append(out.States, s.GetX())
	}
	return out
}

func chatsToPB(chats [][]Message) (out []*pb.Chat) {
	for _, chat := range chats {
		c := &pb.Chat{}
		for _, m := range chat {
			c.Messages = append(c.Messages, &pb.Message{Role: m.Role, Content: m.Content})
		}
		out = append(out, c)
	}
	return out
}

func chatsFromPB(chats []*pb.Chat) (out [][]Message) {
	for _, c := range chats {
		var chat []Message
		for _, m := range c.GetMessages() {
			chat = append(chat, Message{Role: m.GetRole(), Content: m.GetContent()})
		}
		out = append(out, chat)
	}
	return out
}

func transcriptsToPB(transcripts []Transcript) *pb.TranscribeReply {
	out := &pb.TranscribeReply{}
	for _, t := range transcripts {
		out.Transcripts = append(out.Transcripts, &pb.Transcript{Tokens: t.Tokens, Answer: t.Answer})
	}
	return out
}

func transcriptsFromPB(r *pb.TranscribeReply) (out []Transcript) {
	for _, t := range r.GetTranscripts() {
		out = append(out, Transcript{Tokens: t.GetTokens(), Answer: t.GetAnswer()})
	}
	return out
}
