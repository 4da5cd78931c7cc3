package plugin

import "pare/plugin/internal/pb"

// Translations of what runs in the scoring process.

func variantToPB(v Variant) *pb.Variant {
	return &pb.Variant{Path: v.Path, Model: v.Model, Digest: v.Digest, Bypass: ints64(v.Bypass)}
}

func variantFromPB(v *pb.Variant) Variant {
	return Variant{Path: v.GetPath(), Model: v.GetModel(), Digest: v.GetDigest(), Bypass: ints(v.GetBypass())}
}

func variantsToPB(vs []Variant) (out []*pb.Variant) {
	for _, v := range vs {
		out = append(out, variantToPB(v))
	}
	return out
}

func variantsFromPB(vs []*pb.Variant) (out []Variant) {
	for _, v := range vs {
		out = append(out, variantFromPB(v))
	}
	return out
}

func tokensToPB(texts [][]int32) *pb.TokenizeReply {
	out := &pb.TokenizeReply{}
	for _, tokens := range texts {
		out.Texts = append(out.Texts, &pb.Tokens{Tokens: tokens})
	}
	return out
}

func tokensFromPB(r *pb.TokenizeReply) (out [][]int32) {
	for _, t := range r.GetTexts() {
		out = append(out, t.GetTokens())
	}
	return out
}

func scoreRequestToPB(r ScoreRequest) *pb.ScoreRequest {
	out := &pb.ScoreRequest{Model: r.Model, Variants: variantsToPB(r.Variants), Compare: r.Compare}
	for _, s := range r.Sequences {
		out.Sequences = append(out.Sequences, &pb.Sequence{Tokens: s.Tokens, From: int64(s.From)})
	}
	return out
}

func scoreRequestFromPB(r *pb.ScoreRequest) ScoreRequest {
	out := ScoreRequest{Model: r.GetModel(), Variants: variantsFromPB(r.GetVariants()), Compare: r.GetCompare()}
	for _, s := range r.GetSequences() {
		out.Sequences = append(out.Sequences, Sequence{Tokens: s.GetTokens(), From: int(s.GetFrom())})
	}
	return out
}

func scoreToPB(s Score) *pb.ScoreReply {
	return &pb.ScoreReply{
		Sequence: int64(s.Sequence), Variant: int64(s.Variant), LogProb: s.LogProb, Kl: s.KL, Agree: s.Agree,
		Computed: int64(s.Computed), Seconds: s.Seconds,
	}
}

func scoreFromPB(s *pb.ScoreReply) Score {
	return Score{
		Sequence: int(s.GetSequence()), Variant: int(s.GetVariant()), LogProb: s.GetLogProb(), KL: s.GetKl(), Agree: s.GetAgree(),
		Computed: int(s.GetComputed()), Seconds: s.GetSeconds(),
	}
}

func generateRequestToPB(r GenerateRequest) *pb.GenerateRequest {
	return &pb.GenerateRequest{
		Model: r.Model, Variants: variantsToPB(r.Variants), Prompts: r.Prompts,
		MaxTokens: int64(r.MaxTokens), Temperature: r.Temperature, Seed: r.Seed, Parallel: int64(r.Parallel),
		Raw: r.Raw,
	}
}

func generateRequestFromPB(r *pb.GenerateRequest) GenerateRequest {
	return GenerateRequest{
		Model: r.GetModel(), Variants: variantsFromPB(r.GetVariants()), Prompts: r.GetPrompts(),
		MaxTokens: int(r.GetMaxTokens()), Temperature: r.GetTemperature(), Seed: r.GetSeed(), Parallel: int(r.GetParallel()),
		Raw: r.GetRaw(),
	}
}

func answerToPB(a Answer) *pb.Answer {
	return &pb.Answer{
		Prompt: int64(a.Prompt), Variant: int64(a.Variant), Text: a.Text, Tokens: int64(a.Tokens), Ended: a.Ended,
		PromptTokens: int64(a.PromptTokens), PromptSeconds: a.PromptSeconds, Seconds: a.Seconds,
	}
}

func answerFromPB(a *pb.Answer) Answer {
	return Answer{
		Prompt: int(a.GetPrompt()), Variant: int(a.GetVariant()), Text: a.GetText(), Tokens: int(a.GetTokens()), Ended: a.GetEnded(),
		PromptTokens: int(a.GetPromptTokens()), PromptSeconds: a.GetPromptSeconds(), Seconds: a.GetSeconds(),
	}
}

func footprintToPB(f Footprint) *pb.FootprintReply {
	return &pb.FootprintReply{Resident: f.Resident, Device: f.Device, KvPerToken: f.KVPerToken, ContextTokens: int64(f.ContextTokens)}
}

func footprintFromPB(f *pb.FootprintReply) Footprint {
	return Footprint{Resident: f.GetResident(), Device: f.GetDevice(), KVPerToken: f.GetKvPerToken(), ContextTokens: int(f.GetContextTokens())}
}
