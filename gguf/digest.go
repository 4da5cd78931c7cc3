package gguf

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
)

// digest is the SHA-256 of a file that is still being written.
type digest struct {
	written chan int64 // lengths, in order
	result  chan error
	hash    hash.Hash
}

func follow(file io.ReaderAt) *digest {
	d := &digest{written: make(chan int64, 1), result: make(chan error, 1), hash: sha256.New()}
	go func() {
		var at int64
		var err error
		buf := make([]byte, 256<<10)
		for n := range d.written {
			if err != nil {
				continue // let the writer go on until it asks
			}
			var got int64
			got, err = io.CopyBuffer(onlyWriter{d.hash}, io.NewSectionReader(file, at, n), buf)
			if err == nil && got < n {
				err = io.ErrUnexpectedEOF
			}
			at += n
		}
		d.result <- err
	}()
	return d
}

// DigestFile is the digest of a file as it is: "sha256:" and 64 hex digits.
func DigestFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil)), nil
}

// HasDigest reports whether the file at path can be read and has that digest.
func HasDigest(path, digest string) bool {
	got, err := DigestFile(path)
	return err == nil && got == digest
}

// onlyWriter hides a hash's other methods, so that io.CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }

// add tells that n more bytes are in the file.
func (d *digest) add(n int64) { d.written <- n }

// finish returns the digest of all bytes added.
func (d *digest) finish() (sum [sha256.Size]byte, err error) {
	close(d.written)
	if err := <-d.result; err != nil {
		return sum, fmt.Errorf("read back what was written: %w", err)
	}
	copy(sum[:], d.hash.Sum(nil))
	return sum, nil
}
