package session

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	// TempPrefix is what the names of sessions' folders begin with.
	TempPrefix = "wiretape-session-"
	// shortTemp is where a session's folder is if TMPDIR is too long for a socket.
	shortTemp = "/tmp"
	// longestTemp leaves room for a socket's path, which 104 bytes bound on some systems.
	longestTemp = 60
)

// MakeTemp makes a session's folder.
func MakeTemp() (string, error) {
	dir := os.TempDir()
	if runtime.GOOS != "windows" && len(dir) > longestTemp {
		dir = shortTemp
	}
	return os.MkdirTemp(dir, TempPrefix)
}

// removeTemp removes the session's folder, where it is on this host and could be
// nothing else.
func (s State) removeTemp() error {
	host, err := os.Hostname()
	if dir := filepath.Dir(s.Temp); err != nil || host != s.Host || dir != filepath.Clean(os.TempDir()) && dir != shortTemp ||
		!strings.HasPrefix(filepath.Base(s.Temp), TempPrefix) {
		return err
	}
	return os.RemoveAll(s.Temp)
}
