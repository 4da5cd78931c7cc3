package plugin

import "pare/plugin/internal/pb"

// Translations of requests for evaluations and sweeps; their results travel as
// the JSON they are kept in.

func evaluateToPB(e Evaluate) *pb.Evaluate {
	out := &pb.Evaluate{Level: e.Level, Corpus: corpusToPB(e.Corpus), Thresholds: &pb.Thresholds{
		KeepKl: e.Thresholds.KeepKL, KeepLoss: e.Thresholds.KeepLoss,
		RepairKl: e.Thresholds.RepairKL, RepairLoss: e.Thresholds.RepairLoss,
	}}
	for _, c := range e.Tasks {
		out.Tasks = append(out.Tasks, corpusToPB(c))
	}
	return out
}

func evaluateFromPB(e *pb.Evaluate) Evaluate {
	t := e.GetThresholds()
	out := Evaluate{Level: e.GetLevel(), Corpus: corpusFromPB(e.GetCorpus()), Thresholds: Thresholds{
		KeepKL: t.GetKeepKl(), KeepLoss: t.GetKeepLoss(),
		RepairKL: t.GetRepairKl(), RepairLoss: t.GetRepairLoss(),
	}}
	for _, c := range e.GetTasks() {
		out.Tasks = append(out.Tasks, corpusFromPB(c))
	}
	return out
}

func evaluateRequestToPB(r EvaluateRequest) *pb.EvaluateRequest {
	return &pb.EvaluateRequest{
		Id: r.ID, Folder: r.Folder, Profiles: r.Profiles, Model: r.Model, Other: r.Other, Bypass: ints64(r.Bypass),
		Evaluate: evaluateToPB(r.Evaluate),
	}
}

func evaluateRequestFromPB(r *pb.EvaluateRequest) EvaluateRequest {
	return EvaluateRequest{
		ID: r.GetId(), Folder: r.GetFolder(), Profiles: r.GetProfiles(), Model: r.GetModel(), Other: r.GetOther(), Bypass: ints(r.GetBypass()),
		Evaluate: evaluateFromPB(r.GetEvaluate()),
	}
}

func sweepRequestToPB(r SweepRequest) *pb.SweepRequest {
	return &pb.SweepRequest{
		Id: r.ID, Folder: r.Folder, Profile: profileRequestToPB(r.Profile),
		Rates: r.Rates, Criteria: r.Criteria, Seeds: int64(r.Seeds), Protect: ints64(r.Protect),
		Tolerance: r.Tolerance, EachLayer: r.EachLayer, Evaluate: evaluateToPB(r.Evaluate),
	}
}

func sweepRequestFromPB(r *pb.SweepRequest) SweepRequest {
	return SweepRequest{
		ID: r.GetId(), Folder: r.GetFolder(), Profile: profileRequestFromPB(r.GetProfile()),
		Rates: r.GetRates(), Criteria: r.GetCriteria(), Seeds: int(r.GetSeeds()), Protect: ints(r.GetProtect()),
		Tolerance: r.GetTolerance(), EachLayer: r.GetEachLayer(), Evaluate: evaluateFromPB(r.GetEvaluate()),
	}
}
