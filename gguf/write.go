package gguf

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Written tells what Write wrote.
type Written struct {
	Size   int64 // bytes
	SHA256 [sha256.Size]byte
}

// Digest returns the SHA-256 the way Ollama names blobs: "sha256:" and 64 hex digits.
func (w Written) Digest() string { return fmt.Sprintf("sha256:%x", w.SHA256) }

// Write writes a file with the contents of l to path, which is complete and on
// disk when Write succeeds, and as it was before when Write fails. There is one
// exception: if only the sync of the folder fails, the error says so and the new
// file is in place, whole, but a power cut may still undo that. A file that is
// already there is replaced, unless data of l comes from it: that is ErrSameFile.
//
// What was taken from File.Layout and not changed comes out byte for byte, up to
// the padding. If tensors were added, left out, reordered or given other data,
// all are packed in the order of l.Tensors, and anything that was between or
// behind them is dropped. A layout that Read would not accept is an error.
//
// Tensor data is streamed. Write calls progress, unless it is nil, every few MiB
// with the bytes written so far and their total, and looks for cancellation as
// often.
func Write(ctx context.Context, path string, l Layout, progress func(done, total int64)) (Written, error) {
	p, err := l.plan()
	if err != nil {
		return Written{}, fmt.Errorf("lay out %s: %w", path, err)
	}
	if err := l.checkTarget(path); err != nil {
		return Written{}, fmt.Errorf("write %s: %w", path, err)
	}
	if progress == nil {
		progress = func(done, total int64) {}
	}
	w, err := replace(ctx, path, func(file *os.File) (Written, error) {
		return stream(ctx, file, p, progress)
	})
	if err != nil {
		return Written{}, fmt.Errorf("write %s: %w", path, err)
	}
	return w, nil
}

// checkTarget refuses a path that leads to a file from which l takes data.
func (l Layout) checkTarget(path string) error {
	target, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !target.Mode().IsRegular() {
		return errors.New("there is something that is not a regular file")
	}
	checked := map[*File]bool{nil: true}
	check := func(f *File) error {
		if checked[f] {
			return nil
		}
		checked[f] = true
		file, ok := f.r.(*os.File)
		if !ok {
			return nil
		}
		info, err := file.Stat()
		if err == nil && os.SameFile(info, target) {
			err = ErrSameFile
		}
		return err
	}
	for _, t := range l.Tensors {
		if err := check(t.file); err != nil {
			return err
		}
	}
	return check(l.like)
}

// replace puts what fill writes at path, by way of a file beside it. If anything
// up to the rename fails nothing is left behind. After it, what was at path is
// gone, so the new file stays whatever happens.
func replace(ctx context.Context, path string, fill func(*os.File) (Written, error)) (Written, error) {
	folder := filepath.Dir(path)
	temp := filepath.Join(folder, ".pare-"+rand.Text()+".tmp")
	file, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return Written{}, err
	}
	w, err := fill(file)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return Written{}, err
	}
	if err := syncFolder(folder); err != nil {
		return Written{}, fmt.Errorf("sync the folder of the finished file: %w", err)
	}
	return w, nil
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
