package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ollama/ollama/manifest"

	"pare/host/client"
	"pare/plugin"
)

// maxCorpus bounds a user's text, in bytes: hours of tracing on any machine.
const maxCorpus = 64 << 20

// ownCorpus is the name by which a request asks for the plugin's own text.
const ownCorpus = "default"

// corpusText returns a request's text and what tells it from others in a job's
// ID. Without a corpus both are empty; the plugin's own has no text here. What is
// in a text is for the plugin to judge.
func corpusText(c *client.Corpus) ([]byte, string, error) {
	if c == nil {
		return nil, "", nil
	}
	if *c == (client.Corpus{Name: ownCorpus}) {
		return nil, ownCorpus, nil
	}
	text := []byte(c.Text)
	if c.Digest != "" {
		if c.Text != "" {
			return nil, "", plugin.Errorf(plugin.Invalid, "corpus: give text or the digest of an uploaded blob, not both")
		}
		var err error
		if text, err = uploaded(c.Digest); err != nil {
			return nil, "", err
		}
	}
	if len(text) > maxCorpus {
		return nil, "", tooLong(int64(len(text)))
	}
	if len(text) == 0 {
		return nil, "", plugin.Errorf(plugin.Invalid, "corpus: it is empty; give some text, or leave it out to use the one that comes with Pare")
	}
	sum := sha256.Sum256(append([]byte(c.Name+"\x00"), text...))
	return text, hex.EncodeToString(sum[:]), nil
}

func uploaded(digest string) ([]byte, error) {
	path, err := manifest.BlobsPath(digest)
	if err != nil {
		return nil, plugin.Errorf(plugin.Invalid, "corpus: %q is not a digest; it looks like sha256:<64 hex digits>", digest)
	}
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, plugin.Errorf(plugin.NotFound, "corpus: no blob %s; upload it with POST /api/blobs/%s", digest, digest)
	}
	if err != nil {
		return nil, fmt.Errorf("read the corpus: %w", err)
	}
	if fi.Size() > maxCorpus {
		return nil, tooLong(fi.Size())
	}
	return os.ReadFile(path)
}

func tooLong(size int64) error {
	return plugin.Errorf(plugin.Invalid, "corpus: %d MB is more than the %d MB that are allowed; a few hundred KB tell as much", size>>20, maxCorpus>>20)
}
