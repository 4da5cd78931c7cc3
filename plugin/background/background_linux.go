package background

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// GiveWay has this process run with Niceness from now on, if it was not nicer before. On
// Linux that is a matter of each thread, and of who starts it: call it before others are
// started that compute.
func GiveWay() error {
	done := map[string]bool{}
	for {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("give way to other processes: %w", err)
		}
		before := len(done)
		for _, t := range threads {
			if done[t.Name()] {
				continue
			}
			done[t.Name()] = true
			if err := giveWay(t.Name()); err != nil && !errors.Is(err, unix.ESRCH) { // it ended
				return fmt.Errorf("give way to other processes: %w", err)
			}
		}
		if len(done) == before { // none was started by one that had not given way
			return nil
		}
	}
}

func giveWay(thread string) error {
	id, err := strconv.Atoi(thread)
	if err != nil {
		return err
	}
	held, err := unix.Getpriority(unix.PRIO_PROCESS, id) // 20 less the niceness
	if err != nil || 20-held >= Niceness {
		return err
	}
	return unix.Setpriority(unix.PRIO_PROCESS, id, Niceness)
}
