//go:build !unix

package engine

import "os"

// TakeStdout returns what this process prints to. Go's own printing goes to
// standard error from then on.
func TakeStdout() (*os.File, error) {
	out := os.Stdout
	os.Stdout = os.Stderr
	return out, nil
}
