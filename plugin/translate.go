package plugin

import "pare/plugin/internal/pb"

// Pure translations between the contract and the wire.

func ints64(v []int) []int64 {
	if v == nil {
		return nil
	}
	out := make([]int64, len(v))
	for i, n := range v {
		out[i] = int64(n)
	}
	return out
}

func ints(v []int64) []int {
	if v == nil {
		return nil
	}
	out := make([]int, len(v))
	for i, n := range v {
		out[i] = int(n)
	}
	return out
}

func selectionToPB(s Selection) *pb.Selection {
	return &pb.Selection{
		Rate: s.Rate, Layers: int64(s.Layers), Remove: ints64(s.Remove),
		Criterion: s.Criterion, Tokens: s.Tokens, Protect: ints64(s.Protect),
	}
}

func selectionFromPB(s *pb.Selection) Selection {
	return Selection{
		Rate: s.GetRate(), Layers: int(s.GetLayers()), Remove: ints(s.GetRemove()),
		Criterion: s.GetCriterion(), Tokens: s.GetTokens(), Protect: ints(s.GetProtect()),
	}
}

func corpusToPB(c Corpus) *pb.Corpus { return &pb.Corpus{Name: c.Name, Path: c.Path, Live: c.Live} }

func corpusFromPB(c *pb.Corpus) Corpus {
	return Corpus{Name: c.GetName(), Path: c.GetPath(), Live: c.GetLive()}
}

func profileRequestToPB(r ProfileRequest) *pb.ProfileRequest {
	return &pb.ProfileRequest{
		Model: r.Model, Folder: r.Folder, Add: r.Add,
		Corpus: corpusToPB(r.Corpus),
	}
}

func profileRequestFromPB(r *pb.ProfileRequest) ProfileRequest {
	return ProfileRequest{
		Model: r.GetModel(), Folder: r.GetFolder(), Add: r.GetAdd(),
		Corpus: corpusFromPB(r.GetCorpus()),
	}
}

func planRequestToPB(r PlanRequest) *pb.PlanRequest {
	return &pb.PlanRequest{
		Model: r.Model, Path: r.Path, Folder: r.Folder, Selection: selectionToPB(r.Selection), Check: r.Check,
		Corpus: corpusToPB(r.Corpus),
	}
}

func planRequestFromPB(r *pb.PlanRequest) PlanRequest {
	return PlanRequest{
		Model: r.GetModel(), Path: r.GetPath(), Folder: r.GetFolder(), Selection: selectionFromPB(r.GetSelection()), Check: r.GetCheck(),
		Corpus: corpusFromPB(r.GetCorpus()),
	}
}

func jobToPB(j Job) *pb.Job {
	return &pb.Job{
		Id: j.ID, Folder: j.Folder, Profile: profileRequestToPB(j.Profile), Selection: selectionToPB(j.Selection),
		Name: j.Name, Force: j.Force, DryRun: j.DryRun, Repair: repairToPB(j.Repair), Evaluate: evaluateToPB(j.Evaluate),
	}
}

func jobFromPB(j *pb.Job) Job {
	return Job{
		ID: j.GetId(), Folder: j.GetFolder(), Profile: profileRequestFromPB(j.GetProfile()), Selection: selectionFromPB(j.GetSelection()),
		Name: j.GetName(), Force: j.GetForce(), DryRun: j.GetDryRun(), Repair: repairFromPB(j.GetRepair()), Evaluate: evaluateFromPB(j.GetEvaluate()),
	}
}

func eventToPB(e Event) *pb.Event {
	return &pb.Event{Stage: e.Stage, Status: e.Status, Completed: e.Completed, Total: e.Total}
}

func eventFromPB(e *pb.Event) Event {
	return Event{Stage: e.GetStage(), Status: e.GetStatus(), Completed: e.GetCompleted(), Total: e.GetTotal()}
}

func modelToPB(m Model) *pb.ModelReply {
	return &pb.ModelReply{Name: m.Name, Digest: m.Digest, Path: m.Path, Size: m.Size, Adapter: fileToPB(m.Adapter)}
}

func modelFromPB(m *pb.ModelReply) Model {
	return Model{Name: m.GetName(), Digest: m.GetDigest(), Path: m.GetPath(), Size: m.GetSize(), Adapter: fileFromPB(m.GetAdapter())}
}

func fileToPB(f File) *pb.File { return &pb.File{Path: f.Path, Digest: f.Digest} }

func fileFromPB(f *pb.File) File { return File{Path: f.GetPath(), Digest: f.GetDigest()} }

func mergeRequestToPB(r MergeRequest) *pb.MergeRequest {
	return &pb.MergeRequest{Id: r.ID, Folder: r.Folder, Model: r.Model, Name: r.Name, Force: r.Force}
}

func mergeRequestFromPB(r *pb.MergeRequest) MergeRequest {
	return MergeRequest{ID: r.GetId(), Folder: r.GetFolder(), Model: r.GetModel(), Name: r.GetName(), Force: r.GetForce()}
}

func registerToPB(r RegisterRequest) *pb.RegisterRequest {
	return &pb.RegisterRequest{Parent: r.Parent, Name: r.Name, Path: r.Path, Digest: r.Digest, Force: r.Force, Adapter: fileToPB(r.Adapter)}
}

func registerFromPB(r *pb.RegisterRequest) RegisterRequest {
	return RegisterRequest{Parent: r.GetParent(), Name: r.GetName(), Path: r.GetPath(), Digest: r.GetDigest(), Force: r.GetForce(), Adapter: fileFromPB(r.GetAdapter())}
}

func traceRequestToPB(r TraceRequest) *pb.TraceRequest {
	out := &pb.TraceRequest{Model: r.Model}
	for _, t := range r.Texts {
		out.Texts = append(out.Texts, &pb.Text{Digest: t.Digest, Text: t.Text})
	}
	return out
}

func traceRequestFromPB(r *pb.TraceRequest) TraceRequest {
	out := TraceRequest{Model: r.GetModel()}
	for _, t := range r.GetTexts() {
		out.Texts = append(out.Texts, Text{Digest: t.GetDigest(), Text: t.GetText()})
	}
	return out
}

func sumsToPB(s Sums) *pb.Sums {
	return &pb.Sums{Tokens: s.Tokens, OutTokens: s.OutTokens, Angle: s.Angle, Cosine: s.Cosine, Step: s.Step, Norm: s.Norm}
}

func sumsFromPB(s *pb.Sums) Sums {
	return Sums{
		Tokens: s.GetTokens(), OutTokens: s.GetOutTokens(),
		Angle: s.GetAngle(), Cosine: s.GetCosine(), Step: s.GetStep(), Norm: s.GetNorm(),
	}
}

func deltaToPB(d TraceDelta) *pb.TraceDelta {
	out := &pb.TraceDelta{
		Model: d.Model, Layers: int64(d.Layers), Hidden: int64(d.Hidden),
		All: sumsToPB(d.All), Last: sumsToPB(d.Last), First: sumsToPB(d.First),
		Expected: d.Expected, LeftOut: d.LeftOut, Texts: d.Texts,
	}
	for _, f := range d.Faults {
		out.Faults = append(out.Faults, &pb.Fault{Reason: f.Reason, Graphs: f.Graphs, Counted: f.Counted})
	}
	return out
}

func deltaFromPB(d *pb.TraceDelta) TraceDelta {
	out := TraceDelta{
		Model: d.GetModel(), Layers: int(d.GetLayers()), Hidden: int(d.GetHidden()),
		All: sumsFromPB(d.GetAll()), Last: sumsFromPB(d.GetLast()), First: sumsFromPB(d.GetFirst()),
		Expected: d.GetExpected(), LeftOut: d.GetLeftOut(), Texts: d.GetTexts(),
	}
	for _, f := range d.GetFaults() {
		out.Faults = append(out.Faults, Fault{Reason: f.GetReason(), Graphs: f.GetGraphs(), Counted: f.GetCounted()})
	}
	return out
}
