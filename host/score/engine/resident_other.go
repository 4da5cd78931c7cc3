//go:build !linux

package engine

// residentBytes is 0, for not measured: the system has no /proc.
func residentBytes() (int64, error) { return 0, nil }
