package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/wiretape/wiretape/compose/agent"
)

// noncePrefix begins the name of the file that tells whether the engine's machine
// sees a folder of this one. Readers of tapes pass over it.
const noncePrefix = ".wiretape-seen-"

// errNotShared says that a folder is not the same on the engine's machine.
var errNotShared = errors.New("the engine's machine does not have the folder")

// A nonce is a file that is left in a folder for a moment.
type nonce struct {
	file, content string
}

// leaveNonce writes a file into a folder that nobody else can have.
func leaveNonce(dir string) (*nonce, error) {
	var b [16]byte
	rand.Read(b[:])
	content := hex.EncodeToString(b[:])
	n := &nonce{file: filepath.Join(dir, noncePrefix+content[:8]), content: content}
	f, err := os.OpenFile(n.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, n.remove())
	}
	return n, nil
}

func (n *nonce) remove() error { return os.Remove(n.file) }

// createSharing makes a container that has the folder dir mounted as its tape. It gives errNotShared where the engine's machine has another folder there, or
// none: the container is not there then.
func createSharing(ctx context.Context, e Engine, dir string, readOnly bool, create func(mount.Mount) error, name string) (err error) {
	root, err := realFolder(dir)
	if err != nil {
		return errNotShared
	}
	n, err := leaveNonce(root)
	if err != nil { // nobody may write there
		return errNotShared
	}
	defer func() {
		if rerr := n.remove(); rerr != nil && err == nil {
			err = rerr
		}
	}()
	// The engine refuses a source that it does not have, since it is not told to make it.
	if err := create(mount.Mount{Type: mount.TypeBind, Source: root, Target: agent.TapeDir, ReadOnly: readOnly}); err != nil {
		return errors.Join(errNotShared, err)
	}
	seen, err := readFile(ctx, e, name, path.Join(agent.TapeDir, filepath.Base(n.file)))
	if err == nil && string(seen) == n.content {
		return nil
	}
	if err := IgnoreMissing(e.ContainerRemove(context.WithoutCancel(ctx), name, container.RemoveOptions{Force: true, RemoveVolumes: true})); err != nil {
		return EngineError(err)
	}
	return errNotShared
}

// realFolder is where a folder is. One with links in it can't be mounted: they may
// lead out of it.
func realFolder(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	return dir, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink != 0 {
			err = errNotShared
		}
		return err
	})
}
