//go:build unix

package compose

import (
	"net"
	"os"
	"path/filepath"
)

// socketIn is a socket in the session's folder.
func socketIn(dir string) (path, url string) {
	path = filepath.Join(dir, "docker.sock")
	return path, "unix://" + path
}

// listenLocal listens on a socket that nobody but the user can connect to.
func listenLocal(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
