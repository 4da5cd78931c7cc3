package pipeline

import (
	"crypto/sha256"
	"encoding/hex"

	"pare/plugin"
	"pare/plugin/journal"
)

// frames is what trace.bin holds: all that was ever measured of a model's layers,
// an entry for each text or group of texts.
type frames struct {
	*journal.Journal[plugin.TraceDelta]
}

var framesForm = journal.Form[plugin.TraceDelta]{
	Name: "trace.bin", Magic: "PARETRC1", What: "trace",
	Valid: func(d *plugin.TraceDelta) error { return d.Validate() },
}

func readFrames(folder string) (*frames, error) {
	j, err := framesForm.Read(folder)
	return &frames{j}, err
}

func openFrames(folder string) (*frames, error) {
	j, err := framesForm.Open(folder)
	return &frames{j}, err
}

// coveringAll returns the frames that cover the corpora, each text once, and the
// texts that none of them covers. It goes corpus by corpus, so that the frames
// chosen for the first ones stay when one is added: a frame may hold texts of
// several corpora, and the texts of the earlier ones are gone.
func (fs *frames) coveringAll(corpora []plugin.CorpusInfo) (found []journal.Entry[plugin.TraceDelta], missing map[string]bool) {
	missing = map[string]bool{}
	known := map[string]bool{}
	for _, c := range corpora {
		for _, t := range c.Texts {
			if !known[t] {
				known[t], missing[t] = true, true
			}
		}
		found = append(found, fs.covering(missing)...)
	}
	return found, missing
}

// covering returns frames whose texts are all missing, each text once, and takes
// them off the missing ones.
func (fs *frames) covering(missing map[string]bool) (found []journal.Entry[plugin.TraceDelta]) {
	for _, fr := range fs.All {
		whole := len(fr.Value.Texts) > 0
		for _, t := range fr.Value.Texts {
			whole = whole && missing[t]
		}
		if !whole {
			continue
		}
		for _, t := range fr.Value.Texts {
			delete(missing, t)
		}
		found = append(found, fr)
	}
	return found
}

// deltas are the frames' measurements, and the digest of them together.
func deltas(found []journal.Entry[plugin.TraceDelta]) ([]plugin.TraceDelta, string) {
	all := sha256.New()
	var out []plugin.TraceDelta
	for _, fr := range found {
		all.Write(fr.Sum[:])
		out = append(out, fr.Value)
	}
	return out, "sha256:" + hex.EncodeToString(all.Sum(nil))
}
