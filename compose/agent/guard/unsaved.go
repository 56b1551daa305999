package guard

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/wiretape/wiretape/compose/agent"
)

// unsaved keeps the records that were sent to the CLI until it says that they are on
// the tape. When the CLI is gone they go to a file, and with them
// all that come after: what the app has heard is not lost with the CLI.
type unsaved struct {
	mu    sync.Mutex
	bytes []byte // of the records, one after the other
	ends  []int  // of each, in bytes
	saved int64  // how many are on the tape
	file  *os.File
}

// add keeps what is about to be sent, if it is a record.
func (u *unsaved) add(line []byte) error {
	if !agent.IsRecord(line) {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.file != nil {
		_, err := u.file.Write(line)
		return err
	}
	u.bytes = append(u.bytes, line...)
	u.ends = append(u.ends, len(u.bytes))
	return nil
}

// drop forgets the records up to the nth that was ever added.
func (u *unsaved) drop(nth int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := int(min(nth-u.saved, int64(len(u.ends))))
	if n <= 0 {
		return
	}
	u.saved += int64(n)
	cut := u.ends[n-1]
	u.bytes = u.bytes[:copy(u.bytes, u.bytes[cut:])]
	u.ends = u.ends[:copy(u.ends, u.ends[n:])]
	for i := range u.ends {
		u.ends[i] -= cut
	}
}

// spill writes what is kept to a file in dir, and all that comes after it.
func (u *unsaved) spill(dir string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	f, err := os.OpenFile(filepath.Join(dir, agent.UnsavedPart), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	u.file = f
	_, err = f.Write(u.bytes)
	u.bytes, u.ends = nil, nil
	return err
}

// close gives the file its name once it is durable.
func (u *unsaved) close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.file == nil {
		return nil
	}
	err := u.file.Sync()
	if closeErr := u.file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(u.file.Name(), filepath.Join(filepath.Dir(u.file.Name()), agent.UnsavedFile))
}
