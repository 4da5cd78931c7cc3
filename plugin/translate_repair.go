package plugin

import "pare/plugin/internal/pb"

// Translations of how a job is to repair; what came of it travels in the report.

func repairToPB(r Repair) *pb.Repair {
	return &pb.Repair{
		Method: r.Method, Data: corpusToPB(r.Data), Loss: r.Loss, Preset: r.Preset,
		Targets: r.Targets, Layers: r.Layers, Rank: int64(r.Rank), Alpha: r.Alpha, Dropout: r.Dropout, Bits: int64(r.Bits),
		Steps: int64(r.Steps), Batch: int64(r.Batch), Length: int64(r.Length), Accumulate: int64(r.Accumulate),
		LearningRate: r.LearningRate, WarmUp: int64(r.WarmUp), Clip: r.Clip, Seed: r.Seed,
		Adapter: r.Adapter, Quantize: r.Quantize,
	}
}

func repairFromPB(r *pb.Repair) Repair {
	return Repair{
		Method: r.GetMethod(), Data: corpusFromPB(r.GetData()), Loss: r.GetLoss(), Preset: r.GetPreset(),
		Targets: r.GetTargets(), Layers: r.GetLayers(), Rank: int(r.GetRank()), Alpha: r.GetAlpha(), Dropout: r.GetDropout(), Bits: int(r.GetBits()),
		Steps: int(r.GetSteps()), Batch: int(r.GetBatch()), Length: int(r.GetLength()), Accumulate: int(r.GetAccumulate()),
		LearningRate: r.GetLearningRate(), WarmUp: int(r.GetWarmUp()), Clip: r.GetClip(), Seed: r.GetSeed(),
		Adapter: r.GetAdapter(), Quantize: r.GetQuantize(),
	}
}
