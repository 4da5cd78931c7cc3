package repair

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// A checkpoint is all that a training has come to after some steps: what follows
// depends on it and on what the training was asked for, and on nothing else.
//
// The file is magic, the length of a JSON header, the header, the numbers of values
// as float32, and the SHA-256 of all that; lengths and numbers are little-endian.
type checkpoint struct {
	header
	values [][]float32 // of each parameter: itself, its two moments, and the best so far
}

// A header is what of a checkpoint is no matrix.
type header struct {
	Asked   string  `json:"asked"` // digest of what the training was asked for
	Step    int     `json:"step"`  // steps done
	Start   float64 `json:"start"` // loss of the first step
	Best    int     `json:"best"`  // steps after which the held-out loss was lowest
	Lowest  float64 `json:"lowest"`
	Worse   int     `json:"worse"` // measurements since then
	Stopped string  `json:"stopped"`
	Tokens  int64   `json:"tokens"`
	Curve   []Step  `json:"curve"`
	Lengths []int   `json:"lengths"` // of values
}

const (
	checkpointName  = "checkpoint"
	checkpointMagic = "pare checkpoint 2\n"
)

// save writes c to the folder, over the one before. A crash leaves one or the other.
func (c *checkpoint) save(folder string) error {
	if err := c.write(folder); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

func (c *checkpoint) write(folder string) error {
	file, err := os.CreateTemp(folder, "."+checkpointName+"-*")
	if err != nil {
		return err
	}
	err = c.encode(file)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), filepath.Join(folder, checkpointName))
	}
	if err != nil {
		os.Remove(file.Name())
		return err
	}
	return syncFolder(folder)
}

func (c *checkpoint) encode(to io.Writer) error {
	c.Lengths = nil
	for _, v := range c.values {
		c.Lengths = append(c.Lengths, len(v))
	}
	text, err := json.Marshal(c.header)
	if err != nil {
		return err
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(to, sum), 1<<20)
	w.WriteString(checkpointMagic)
	binary.Write(w, binary.LittleEndian, uint64(len(text)))
	w.Write(text)
	for _, v := range c.values {
		if err := binary.Write(w, binary.LittleEndian, v); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = to.Write(sum.Sum(nil))
	return err
}

// load fills c from the folder and reports whether there was a checkpoint of the same
// training. One that is damaged, or another training's, is as good as none.
func (c *checkpoint) load(folder string) bool {
	file, err := os.ReadFile(filepath.Join(folder, checkpointName))
	body := len(file) - sha256.Size
	if err != nil || body < len(checkpointMagic)+8 || !bytes.HasPrefix(file, []byte(checkpointMagic)) {
		return false
	}
	if sum := sha256.Sum256(file[:body]); !bytes.Equal(sum[:], file[body:]) {
		return false
	}
	rest := file[len(checkpointMagic):body]
	size := binary.LittleEndian.Uint64(rest)
	rest = rest[8:]
	if size > uint64(len(rest)) {
		return false
	}
	var p header
	if err := json.Unmarshal(rest[:size], &p); err != nil || p.Asked != c.Asked || len(p.Lengths) != len(c.values) {
		return false
	}
	for i, n := range p.Lengths {
		if n != len(c.values[i]) {
			return false
		}
	}
	numbers := bytes.NewReader(rest[size:])
	for _, v := range c.values {
		if binary.Read(numbers, binary.LittleEndian, v) != nil {
			return false
		}
	}
	c.header = p
	return true
}

// syncFolder makes a rename in the folder last, where the file system can sync a
// folder; some cannot and say so.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, folder.Close())
}

// asked is the digest of a training: of its config, of the network, and of the
// tokens and weights that it learns from and is measured by. What else the examples
// hold follows from those and from the models.
func asked(n *Network, cfg Config, sources ...Source) (string, error) {
	sum := sha256.New()
	settings, err := json.Marshal([]any{cfg, n})
	if err != nil {
		return "", err
	}
	sum.Write(settings)
	for _, s := range sources {
		for i := range length(s) {
			e, err := s.Read(i)
			if err != nil {
				return "", fmt.Errorf("read example %d: %w", i, err)
			}
			for _, column := range []any{e.Tokens, e.Segment, e.Target, e.Weight, e.TopTokens} {
				binary.Write(sum, binary.LittleEndian, column)
			}
		}
		fmt.Fprintf(sum, "%d examples", length(s))
	}
	return fmt.Sprintf("sha256:%x", sum.Sum(nil)), nil
}

func hashed(s string) [32]byte { return sha256.Sum256([]byte(s)) }
