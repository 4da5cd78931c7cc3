//go:build !linux

package trace

import "net"

// checkPeer trusts the permissions of the socket's folder.
func checkPeer(*net.UnixConn) error { return nil }
