package gguf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// step is how many bytes are written between two looks at the context.
const step = 4 << 20

// stream writes the planned file. The digest is taken from the output itself,
// one step behind and at the same time, while the kernel still has it in memory.
// That takes as long as copying through a buffer and hashing it on the way, but
// leaves the copying to the kernel and vouches for what is in the file.
func stream(ctx context.Context, file *os.File, p plan, progress func(done, total int64)) (Written, error) {
	d := follow(file)
	err := func() error {
		s := streamer{ctx: ctx, file: file, digest: d, total: p.size, progress: progress}
		if err := s.copy(int64(len(p.header)), func(from, n int64) error {
			_, err := file.Write(p.header[from : from+n])
			return err
		}); err != nil {
			return err
		}
		for _, piece := range p.pieces {
			if err := s.piece(piece); err != nil {
				return err
			}
		}
		return nil
	}()
	sum, hashErr := d.finish()
	if err := errors.Join(err, hashErr); err != nil {
		return Written{}, err
	}
	return Written{Size: p.size, SHA256: sum}, nil
}

// streamer writes pieces in steps.
type streamer struct {
	ctx         context.Context
	file        *os.File
	digest      *digest
	done, total int64
	told        int64 // what progress was called with last
	progress    func(done, total int64)
}

// copy lets write do n bytes, one step after the other.
func (s *streamer) copy(n int64, write func(from, n int64) error) error {
	for from := int64(0); from < n; from += step {
		if err := context.Cause(s.ctx); err != nil {
			return err
		}
		n := min(step, n-from)
		if err := write(from, n); err != nil {
			return err
		}
		s.digest.add(n)
		s.done += n
		if s.done-s.told >= step || s.done == s.total {
			s.told = s.done
			s.progress(s.done, s.total)
		}
	}
	return nil
}

func (s *streamer) piece(p piece) error {
	switch {
	case p.from != nil:
		if err := s.reader(p); err != nil {
			return fmt.Errorf("data of tensor %q: %w", p.name, err)
		}
		return nil
	case p.file != nil:
		return s.copy(p.n, func(from, n int64) error {
			if err := p.file.copyTo(s.file, p.at+from, n); err != nil {
				return fmt.Errorf("copy from byte %d of the source: %w", p.at+from, err)
			}
			return nil
		})
	}
	return s.copy(p.n, func(from, n int64) error { return copyExactly(s.file, zeros{}, n) })
}

// reader writes a piece that its reader supplies.
func (s *streamer) reader(p piece) (err error) {
	r, err := p.from()
	if err != nil {
		return err
	}
	if c, ok := r.(io.Closer); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	if err := s.copy(p.n, func(from, n int64) error { return copyExactly(s.file, r, n) }); err != nil {
		return err
	}
	if n, err := io.ReadFull(r, make([]byte, 1)); n > 0 {
		return fmt.Errorf("there is more data than its %d bytes", p.n)
	} else if err != io.EOF {
		return err
	}
	return nil
}

// copyTo appends n bytes of f, from byte at, to dst.
func (f *File) copyTo(dst *os.File, at, n int64) error {
	if f.opened == nil {
		return copyExactly(dst, io.NewSectionReader(f.r, at, n), n)
	}
	f.seek.Lock()
	defer f.seek.Unlock()
	if _, err := f.opened.Seek(at, io.SeekStart); err != nil {
		return err
	}
	return copyExactly(dst, f.opened, n) // in the kernel, where there is copy_file_range
}

// copyExactly copies n bytes; an earlier end is an error.
func copyExactly(dst *os.File, src io.Reader, n int64) error {
	done, err := io.Copy(dst, io.LimitReader(src, n))
	if err == nil && done < n {
		err = fmt.Errorf("data ends after %d of %d bytes: %w", done, n, io.ErrUnexpectedEOF)
	}
	return err
}

// zeros is a reader that gives nothing else.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
