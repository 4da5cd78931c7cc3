// Package journal keeps what was measured of a model in files that only grow, so
// that it is measured once, whatever ends the process.
package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A Journal is a file to which what was measured of a model is added, and not changed
// unless all of it is replaced: after the magic, each entry is its length and its CRC-32C, 4 bytes
// each, little-endian, and a gob of T. An entry that a crash cut short is dropped,
// and one that was damaged later is passed over.
type Journal[T any] struct {
	Form[T]
	folder string
	file   *os.File // open for adding; nil if it was only read
	All    []Entry[T]
}

// A Form is what journals of a kind have in common.
type Form[T any] struct {
	Name  string // of the file
	Magic string // 8 bytes, the last one a version; files of others are begun anew
	What  string // it holds, for errors: "trace"
	Valid func(*T) error
}

// An Entry is a value and what identifies it.
type Entry[T any] struct {
	Value T
	Sum   [sha256.Size]byte
}

const maxEntry = 256 << 20 // bytes; the trace of a model of 1,024 layers needs 25 MB

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Read reads the entries in a model's folder, if there are any. It changes
// nothing: what looks torn may be an entry that another is adding just now.
func (form Form[T]) Read(folder string) (*Journal[T], error) {
	f, err := os.Open(filepath.Join(folder, form.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return &Journal[T]{Form: form}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the %s: %w", form.What, err)
	}
	defer f.Close()
	all, _, err := form.load(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return &Journal[T]{Form: form, All: all}, nil
}

// Open reads the entries in a model's folder, or starts a new file, for adding.
// There must be one caller at a time.
func (form Form[T]) Open(folder string) (*Journal[T], error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("keep the %s: %w", form.What, err)
	}
	f, err := os.OpenFile(filepath.Join(folder, form.Name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep the %s: %w", form.What, err)
	}
	all, end, err := form.load(f)
	if err == nil {
		err = form.endAt(f, end)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	syncFolder(folder) // the file may be new
	return &Journal[T]{Form: form, folder: folder, file: f, All: all}, nil
}

// load reads all whole entries and says where the last of them ends: at 0 if not
// even the magic is there.
func (form Form[T]) load(f io.Reader) (all []Entry[T], end int64, err error) {
	magic := make([]byte, len(form.Magic))
	if _, err := io.ReadFull(f, magic); torn(err) {
		return nil, 0, nil
	} else if err != nil {
		return nil, 0, err
	}
	if form.isOther(string(magic)) {
		return nil, 0, nil // what it holds is measured anew
	}
	if string(magic) != form.Magic {
		return nil, 0, fmt.Errorf("it is not a %s of this version of Pare; delete it to measure the model again", form.What)
	}
	end = int64(len(magic))
	for at := end; ; {
		payload, size, err := nextEntry(f)
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
		e, err := form.decode(payload)
		if err != nil {
			return nil, 0, err
		}
		all, end = append(all, e), at
	}
}

// isOther reports whether a magic is that of another version, a digit at its end.
func (form Form[T]) isOther(magic string) bool {
	last := len(magic) - 1
	return magic != form.Magic && magic[:last] == form.Magic[:last] && magic[last] >= '0' && magic[last] <= '9'
}

// endAt cuts off what follows the last whole entry, and goes there to add.
func (form Form[T]) endAt(f *os.File, end int64) error {
	if err := f.Truncate(end); err != nil {
		return err
	}
	if _, err := f.Seek(end, io.SeekStart); err != nil || end > 0 {
		return err
	}
	_, err := f.WriteString(form.Magic)
	return err
}

// What may be wrong with an entry: nothing behind it can be found, or it alone is
// to be passed over.
var (
	errNoEntry = errors.New("no entry begins here")
	errDamaged = errors.New("the entry is damaged")
)

// torn reports whether err is the end of the entries, clean or not.
func torn(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errNoEntry)
}

// nextEntry reads one entry and returns its payload and its size with the head,
// the size also with errDamaged.
func nextEntry(r io.Reader) (payload []byte, size int64, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, err
	}
	n := int64(binary.LittleEndian.Uint32(head[:4]))
	if n == 0 || n > maxEntry { // a head of zeros has the right CRC: some disks leave them after a crash
		return nil, 0, errNoEntry
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

func (form Form[T]) decode(payload []byte) (Entry[T], error) {
	e := Entry[T]{Sum: sha256.Sum256(payload)}
	if err := gob.NewDecoder(bytes.NewReader(payload)).Decode(&e.Value); err != nil {
		return e, fmt.Errorf("decode an entry of the %s: %w", form.What, err)
	}
	return e, form.Valid(&e.Value)
}

// Add appends a value; when Add returns it is on disk. If it fails, what was written of
// the value is taken off again.
func (j *Journal[T]) Add(v T) error {
	end, err := j.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("keep the %s: %w", j.What, err)
	}
	e, err := appendEntry(j.file, v)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("keep the %s: %w", j.What, errors.Join(err, j.endAt(j.file, end)))
	}
	j.All = append(j.All, e)
	return nil
}

func appendEntry[T any](w io.Writer, v T) (Entry[T], error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		return Entry[T]{}, err
	}
	var head [8]byte
	binary.LittleEndian.PutUint32(head[:4], uint32(b.Len()))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(b.Bytes(), castagnoli))
	_, err := w.Write(append(head[:], b.Bytes()...))
	return Entry[T]{v, sha256.Sum256(b.Bytes())}, err
}

// Write makes a file of values, or puts it in the place of the one that is there: whole
// or, if it fails or a crash comes between, not at all.
func (form Form[T]) Write(folder string, values []T) error {
	f, _, err := form.write(folder, values)
	if err == nil {
		err = f.Close()
	}
	return err
}

// write is Write, and returns the new file, open for adding.
func (form Form[T]) write(folder string, values []T) (f *os.File, all []Entry[T], err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep the %s: %w", form.What, err)
		}
	}()
	if f, err = os.CreateTemp(folder, "."+form.Name+"-*"); err != nil {
		return nil, nil, err
	}
	_, err = f.WriteString(form.Magic)
	for _, v := range values {
		if err != nil {
			break
		}
		var e Entry[T]
		e, err = appendEntry(f, v)
		all = append(all, e)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(folder, form.Name))
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, nil, err
	}
	syncFolder(folder)
	return f, all, nil
}

// syncFolder has the names in a folder on disk, too.
func syncFolder(folder string) {
	if d, err := os.Open(folder); err == nil {
		d.Sync()
		d.Close()
	}
}

// Replace puts values in the place of all entries, which stay if it fails or a crash
// comes between.
func (j *Journal[T]) Replace(values []T) error {
	f, all, err := j.write(j.folder, values)
	if err != nil {
		return err
	}
	j.file.Close()
	j.file, j.All = f, all
	return nil
}

// Size is that of the file, in bytes.
func (j *Journal[T]) Size() (int64, error) {
	fi, err := j.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("read the %s: %w", j.What, err)
	}
	return fi.Size(), nil
}

func (j *Journal[T]) Close() error { return j.file.Close() }
