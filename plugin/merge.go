package plugin

// A MergeRequest asks for a model that has in its own weights what its LoRA adapter
// adds to them. Such a model can be cut, as any can that has no adapter.
type MergeRequest struct {
	ID     string
	Folder string // of this job alone; the plugin keeps its work here
	Model  string // name of one with an adapter
	Name   string // of the model to be made
	Force  bool   // replace a model of that name
}

// A Merged tells what a merge made, kept as report.json in the job's folder.
type Merged struct {
	Version int         `json:"version"`
	Job     string      `json:"job"`
	Model   MergedModel `json:"model"`
	Result  MergedModel `json:"result"`
	Adapter Adapter     `json:"adapter"`
	Digest  string      `json:"adapter_digest"`
	Notes   []string    `json:"notes,omitempty"` // what was stored in another type than before, or left out
}

// A MergedModel is a model before or after a merge.
type MergedModel struct {
	Name   string `json:"name"`
	Digest string `json:"digest"` // of the GGUF
	Bytes  int64  `json:"bytes"`  // of the GGUF
}
