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
	"io/fs"
	"os"
	"path/filepath"

	"pare/plugin"
)

// trace.bin holds all that was ever measured of a model, a frame for each text
// or group of texts: after the magic, each frame is its length and its CRC-32C,
// 4 bytes each, little-endian, and a gob of plugin.TraceDelta. Frames are only
// ever added. One that a crash cut short is dropped, and one that was damaged
// later is passed over.
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

// frames is what trace.bin holds.
type frames struct {
	file *os.File // open for adding; nil if it was only read
	all  []frame
}

// readFrames reads the frames in a model's folder, if there are any. It changes
// nothing: what looks torn may be a frame that another is adding just now.
func readFrames(folder string) (*frames, error) {
	f, err := os.Open(filepath.Join(folder, "trace.bin"))
	if errors.Is(err, fs.ErrNotExist) {
		return &frames{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the trace: %w", err)
	}
	defer f.Close()
	all, _, err := load(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return &frames{all: all}, nil
}

// openFrames reads the frames in a model's folder, or starts a new file, for
// adding. There must be one caller at a time.
func openFrames(folder string) (*frames, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("keep the trace: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(folder, "trace.bin"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep the trace: %w", err)
	}
	all, end, err := load(f)
	if err == nil {
		err = endAt(f, end)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return &frames{file: f, all: all}, nil
}

// load reads all whole frames and says where the last of them ends: at 0 if not
// even the magic is there.
func load(f io.Reader) (all []frame, end int64, err error) {
	magic := make([]byte, len(framesMagic))
	if _, err := io.ReadFull(f, magic); torn(err) {
		return nil, 0, nil
	} else if err != nil {
		return nil, 0, err
	}
	if string(magic) != framesMagic {
		return nil, 0, errors.New("it is not a trace of this version of Pare; delete it to trace the model again")
	}
	end = int64(len(magic))
	for at := end; ; {
		payload, size, err := nextFrame(f)
		if torn(err) {
			return all, end, nil
		}
		at += size
		if errors.Is(err, errDamaged) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		fr, err := decodeFrame(payload)
		if err != nil {
			return nil, 0, err
		}
		all, end = append(all, fr), at
	}
}

// endAt cuts off what follows the last whole frame, and goes there to add.
func endAt(f *os.File, end int64) error {
	if err := f.Truncate(end); err != nil {
		return err
	}
	if _, err := f.Seek(end, io.SeekStart); err != nil || end > 0 {
		return err
	}
	_, err := f.WriteString(framesMagic)
	return err
}

// What may be wrong with a frame: nothing behind it can be found, or it alone is
// to be passed over.
var (
	errNoFrame = errors.New("no frame begins here")
	errDamaged = errors.New("the frame is damaged")
)

// torn reports whether err is the end of the frames, clean or not.
func torn(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errNoFrame)
}

// nextFrame reads one frame and returns its payload and its size with the head,
// the size also with errDamaged.
func nextFrame(r io.Reader) (payload []byte, size int64, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, err
	}
	n := int64(binary.LittleEndian.Uint32(head[:4]))
	if n == 0 || n > maxFrame { // a head of zeros has the right CRC: some disks leave them after a crash
		return nil, 0, errNoFrame
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, n); err != nil {
		return nil, 0, err
	}
	size = int64(len(head)) + n
	if crc32.Checksum(b.Bytes(), castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, size, errDamaged
	}
	return b.Bytes(), size, nil
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

// coveringAll returns the frames that cover the corpora, each text once, and the
// texts that none of them covers. It goes corpus by corpus, so that the frames
// chosen for the first ones stay when one is added: a frame may hold texts of
// several corpora, and the texts of the earlier ones are gone.
func (fs *frames) coveringAll(corpora []plugin.CorpusInfo) (found []frame, missing map[string]bool) {
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
func (fs *frames) covering(missing map[string]bool) (found []frame) {
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
	return found
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
