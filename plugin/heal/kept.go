package heal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"pare/gguf"
	"pare/plugin"
)

// asked is the digest of what the result depends on.
func (p Patient) asked() string {
	data, err := json.Marshal(struct {
		Model, Cut, Version string
		Settings            plugin.Repair
		Data                string
	}{p.Model.Digest, p.Digest, p.Version, p.Settings, p.dataDigest()})
	if err != nil {
		panic(err) // numbers and strings
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// dataDigest is that of a user's file, if there is one.
func (p Patient) dataDigest() string {
	data, err := os.ReadFile(p.Settings.Data.Path)
	if err != nil {
		return p.Settings.Data.Name
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// earlier is how far an earlier try came, if its files are whole.
func (p Patient) earlier(asked string) (Result, bool) {
	var r Result
	data, err := os.ReadFile(filepath.Join(p.Folder, "healed.json"))
	if err != nil || json.Unmarshal(data, &r) != nil || r.Asked != asked {
		return r, false
	}
	files := []plugin.File{}
	if r.Adapter.Path != "" {
		files = append(files, r.Adapter)
	}
	for _, s := range r.Stages {
		files = append(files, plugin.File{Path: s.Path, Digest: s.Digest})
	}
	for _, s := range files {
		if !gguf.HasDigest(s.Path, s.Digest) {
			return r, false
		}
	}
	return r, true
}

func (p Patient) keep(r Result) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode the repair: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(p.Folder, "healed.json"), data, 0o600, renameio.WithTempDir(p.Folder)); err != nil {
		return fmt.Errorf("keep the repair: %w", err)
	}
	return nil
}
