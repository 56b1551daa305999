package compose

import (
	"net"
	"path/filepath"

	"github.com/Microsoft/go-winio"
)

// socketIn is a named pipe that has the name of the session's folder.
func socketIn(dir string) (path, url string) {
	name := filepath.Base(dir)
	return `\\.\pipe\` + name, "npipe:////./pipe/" + name
}

// listenLocal listens on a named pipe that nobody but the user can open.
func listenLocal(path string) (net.Listener, error) {
	return winio.ListenPipe(path, &winio.PipeConfig{SecurityDescriptor: "D:P(A;;GA;;;OW)"})
}
