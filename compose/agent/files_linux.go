package agent

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// GuardFD is the socket in the worker over which the guard hands over the maps.
const GuardFD = 3

// SendFiles passes open files to the process at the other end of conn (unix(7), SCM_RIGHTS).
func SendFiles(conn *net.UnixConn, files []*os.File) error {
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	_, _, err := conn.WriteMsgUnix([]byte{byte(len(fds))}, syscall.UnixRights(fds...), nil)
	for _, f := range files {
		f.Close()
	}
	return err
}

// ReceiveFiles takes the files that SendFiles passed.
func ReceiveFiles(conn *net.UnixConn) ([]*os.File, error) {
	oob := make([]byte, syscall.CmsgSpace(4*64))
	var n [1]byte
	_, oobn, _, _, err := conn.ReadMsgUnix(n[:], oob)
	if err != nil {
		return nil, err
	}
	msgs, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return nil, fmt.Errorf("the maps did not come from the guard: %v", err) //nolint:errorlint // may be nil
	}
	fds, err := syscall.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != int(n[0]) {
		return nil, fmt.Errorf("the guard sent %d maps, %d came: %v", n[0], len(fds), err) //nolint:errorlint // may be nil
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		syscall.CloseOnExec(fd)
		files[i] = os.NewFile(uintptr(fd), fmt.Sprintf("map %d", i))
	}
	return files, nil
}
