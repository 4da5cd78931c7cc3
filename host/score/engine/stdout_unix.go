//go:build unix

package engine

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// TakeStdout returns what this process prints to, for nobody else's use: what
// libraries print from then on goes to standard error.
func TakeStdout() (*os.File, error) {
	fd, err := unix.Dup(1)
	if err != nil {
		return nil, fmt.Errorf("take standard output: %w", err)
	}
	unix.CloseOnExec(fd)
	if err := unix.Dup2(2, 1); err != nil {
		return nil, fmt.Errorf("take standard output: %w", err)
	}
	return os.NewFile(uintptr(fd), "replies"), nil
}
