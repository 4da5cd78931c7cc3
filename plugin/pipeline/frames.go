package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"pare/plugin"
)

// trace.bin holds all that was ever measured of a model, a frame for each text
// or group of texts: after the magic, each frame is its length and its CRC-32C,
// 4 bytes each, little-endian, and a gob of plugin.TraceDelta. Frames are only
// ever added, and one that a crash cut short is dropped.
const (
	framesMagic = "PARETRC1"
	maxFrame    = 256 << 20 // bytes; a model of 1,024 layers needs 25 MB
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A frame is a delta and what identifies it.
type frame struct {
	plugin.TraceDelta
	sum [sha256.Size]byte
}

// frames is trace.bin, open for adding.
type frames struct {
	file *os.File
	all  []frame
}

// openFrames reads the frames in a model's folder, or starts a new file.
func openFrames(folder string) (*frames, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("keep the trace: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(folder, "trace.bin"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep the trace: %w", err)
	}
	fs := &frames{file: f}
	if err := fs.load(); err != nil {
		f.Close()
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return fs, nil
}

// load reads all whole frames and puts the end of the file behind them.
func (fs *frames) load() error {
	magic := make([]byte, len(framesMagic))
	n, err := io.ReadFull(fs.file, magic)
	if err == nil && string(magic) != framesMagic {
		return errors.New("it is not a trace of this version of Pare; delete it to trace the model again")
	}
	if n < len(magic) {
		return fs.restart()
	}
	end := int64(len(magic))
	for {
		payload, err := nextFrame(fs.file)
		if err != nil {
			break // the end, or what a crash left of a frame
		}
		fr, err := decodeFrame(payload)
		if err != nil {
			return err
		}
		fs.all = append(fs.all, fr)
		end += int64(8 + len(payload))
	}
	if err := fs.file.Truncate(end); err != nil {
		return err
	}
	_, err = fs.file.Seek(end, io.SeekStart)
	return err
}

func (fs *frames) restart() error {
	if err := fs.file.Truncate(0); err != nil {
		return err
	}
	_, err := fs.file.WriteAt([]byte(framesMagic), 0)
	if err != nil {
		return err
	}
	_, err = fs.file.Seek(int64(len(framesMagic)), io.SeekStart)
	return err
}

// nextFrame reads one frame's payload.
func nextFrame(r io.Reader) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[:4])
	if size > maxFrame {
		return nil, fmt.Errorf("frame of %d bytes", size)
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(size)); err != nil {
		return nil, err
	}
	if crc32.Checksum(b.Bytes(), castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, errors.New("frame is damaged")
	}
	return b.Bytes(), nil
}

func decodeFrame(payload []byte) (frame, error) {
	fr := frame{sum: sha256.Sum256(payload)}
	if err := gob.NewDecoder(bytes.NewReader(payload)).Decode(&fr.TraceDelta); err != nil {
		return fr, fmt.Errorf("decode a frame: %w", err)
	}
	return fr, fr.Validate()
}

// add appends a delta; when add returns it is on disk.
func (fs *frames) add(d plugin.TraceDelta) error {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(d); err != nil {
		return fmt.Errorf("keep the trace: %w", err)
	}
	var head [8]byte
	binary.LittleEndian.PutUint32(head[:4], uint32(b.Len()))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(b.Bytes(), castagnoli))
	if _, err := fs.file.Write(append(head[:], b.Bytes()...)); err != nil {
		return fmt.Errorf("keep the trace: %w", err)
	}
	if err := fs.file.Sync(); err != nil {
		return fmt.Errorf("keep the trace: %w", err)
	}
	fs.all = append(fs.all, frame{TraceDelta: d, sum: sha256.Sum256(b.Bytes())})
	return nil
}

// covering returns the frames whose texts are all in wanted, each text once,
// and the texts that none of them covers.
func (fs *frames) covering(wanted []string) (found []frame, missing map[string]bool) {
	missing = map[string]bool{}
	for _, t := range wanted {
		missing[t] = true
	}
	for _, fr := range fs.all {
		whole := len(fr.Texts) > 0
		for _, t := range fr.Texts {
			whole = whole && missing[t]
		}
		if !whole {
			continue
		}
		for _, t := range fr.Texts {
			delete(missing, t)
		}
		found = append(found, fr)
	}
	return found, missing
}

func (fs *frames) close() error { return fs.file.Close() }

// deltas are the frames' measurements, and the digest of them together.
func deltas(found []frame) ([]plugin.TraceDelta, string) {
	all := sha256.New()
	var out []plugin.TraceDelta
	for _, fr := range found {
		all.Write(fr.sum[:])
		out = append(out, fr.TraceDelta)
	}
	return out, "sha256:" + hex.EncodeToString(all.Sum(nil))
}
