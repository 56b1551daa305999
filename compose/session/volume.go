package session

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/images"
)

const (
	manifestFile = "tape.yaml"
	// forgottenAfter is when a container that a killed process left is removed.
	forgottenAfter = time.Hour
)

// ReadTape copies the tape in a volume of the engine to the folder dir, which it makes.
func ReadTape(ctx context.Context, e *Env, at recording.Volume, dir string) error {
	if err := hasVolume(ctx, e.Engine, at); err != nil {
		return err
	}
	return withVolume(ctx, e, at.Name, true, func(id string) error {
		content, _, err := e.Engine.CopyFromContainer(ctx, id, inContainer(at, manifestFile))
		if errdefs.IsNotFound(err) {
			return noTape(ctx, e.Engine, id, at)
		}
		if err != nil {
			return EngineError(err)
		}
		content.Close()
		content, _, err = e.Engine.CopyFromContainer(ctx, id, inContainer(at, "."))
		if err != nil {
			return EngineError(err)
		}
		defer content.Close()
		if err := unpack(content, dir); err != nil {
			return fmt.Errorf("copy %s: %w", at, err)
		}
		return nil
	})
}

// WriteTape copies the tape in the folder dir to a volume, which is made if it is
// missing. What is in its place there stays.
func WriteTape(ctx context.Context, e *Env, dir string, at recording.Volume) error {
	if err := createTapeVolume(ctx, e.Engine, at.Name); err != nil {
		return err
	}
	return withVolume(ctx, e, at.Name, false, func(id string) error {
		content, _, err := e.Engine.CopyFromContainer(ctx, id, inContainer(at, ""))
		if err == nil {
			content.Close()
			return UsageError(fmt.Sprintf("copy it to another folder, as in volume:%s/chat, or remove the volume first: docker volume rm %s", at.Name, at.Name),
				"there is a tape at %s already", at)
		}
		if !errdefs.IsNotFound(err) {
			return EngineError(err)
		}
		pr, pw := io.Pipe()
		go func() {
			w := tar.NewWriter(pw)
			err := packTape(w, dir, at.Folder)
			pw.CloseWithError(errors.Join(err, w.Close()))
		}()
		err = e.Engine.CopyToContainer(ctx, id, agent.TapeDir, pr, container.CopyToContainerOptions{})
		pr.CloseWithError(io.ErrClosedPipe)
		if err != nil {
			return fmt.Errorf("copy %s to %s: %w", dir, at, err)
		}
		return nil
	})
}

// CopyTape copies a tape of this host to the folder target, which it makes.
func CopyTape(dir, target string) error {
	pr, pw := io.Pipe()
	go func() {
		w := tar.NewWriter(pw)
		err := packTape(w, dir, ".")
		pw.CloseWithError(errors.Join(err, w.Close()))
	}()
	err := unpack(pr, target)
	pr.CloseWithError(io.ErrClosedPipe)
	return err
}

func inContainer(at recording.Volume, file string) string {
	name := path.Join(agent.TapeDir, at.Folder, file)
	if file == "." {
		name += "/." // what is in it, and not the folder
	}
	return name
}

// hasVolume looks for a volume, since to mount one that is missing would make it.
func hasVolume(ctx context.Context, e Engine, at recording.Volume) error {
	list, err := e.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("name", at.Name))})
	if err != nil {
		return EngineError(err)
	}
	for _, v := range list.Volumes { // the engine looks for a part of the name
		if v.Name == at.Name {
			return nil
		}
	}
	return UsageError("docker volume ls lists them; to make one, record to it with wiretape compose record --tape "+at.String()+", or copy a tape with wiretape tape cp DIR "+at.String(),
		"the engine has no volume %s", at.Name)
}

// noTape says what else there is.
func noTape(ctx context.Context, e Engine, id string, at recording.Volume) error {
	next := "record to it with wiretape compose record --tape " + at.String() + ", or copy a tape with wiretape tape cp DIR " + at.String()
	pending := pendingIn(at)
	if content, _, err := e.CopyFromContainer(ctx, id, inContainer(pending, manifestFile)); err == nil {
		content.Close()
		next = "a recording that goes on, or was cut off, is at " + pending.String()
	}
	return UsageError(next, "there is no tape at %s", at)
}

// withVolume mounts a volume into a container that is never started: an engine
// copies files of those as well.
func withVolume(ctx context.Context, e *Env, name string, readOnly bool, do func(id string) error) error {
	removeForgotten(ctx, e.Engine)
	image, err := ensureImage(ctx, e, e.Info.Arch)
	if err != nil {
		return err
	}
	config := &container.Config{
		Image: image, Entrypoint: []string{images.Executable}, Cmd: []string{"agent"}, Labels: map[string]string{labelTape: name},
	}
	host := &container.HostConfig{
		NetworkMode: "none",
		Mounts: []mount.Mount{{
			Type: mount.TypeVolume, Source: name, Target: agent.TapeDir, ReadOnly: readOnly, VolumeOptions: &mount.VolumeOptions{NoCopy: true},
		}},
	}
	if e.Info.UserNS {
		host.UsernsMode = "host" // as the agent's, which owns the files
	}
	c, err := e.Engine.ContainerCreate(context.WithoutCancel(ctx), config, host, nil, nil, "wiretape-"+NewID()+"-tape")
	if err != nil {
		return EngineError(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		if err := IgnoreMissing(e.Engine.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true})); err != nil {
			e.Report(Warn, "left behind, which does no harm: "+err.Error(), "by hand: docker rm "+c.ID)
		}
	}()
	return do(c.ID)
}

// removeForgotten removes containers that withVolume made in processes that were killed.
func removeForgotten(ctx context.Context, e Engine) {
	list, err := ContainersWith(ctx, e, filters.Arg("label", labelTape))
	if err != nil {
		return // who comes next says why
	}
	for _, c := range list {
		if c.State == "created" && time.Since(time.Unix(c.Created, 0)) > forgottenAfter {
			_ = RemoveContainer(ctx, e, c)
		}
	}
}

// packTape writes a tape's folder as an archive, below prefix, with the modes that
// a writer of tapes gives. The manifest is the last: half a copy is no tape.
func packTape(w *tar.Writer, dir, prefix string) error {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil || rel == manifestFile {
			return err
		}
		if d.IsDir() {
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path.Join(prefix, filepath.ToSlash(rel)) + "/", Mode: 0o700})
		}
		return packFile(w, name, path.Join(prefix, filepath.ToSlash(rel)))
	})
	if err != nil {
		return err
	}
	return packFile(w, filepath.Join(root, manifestFile), path.Join(prefix, manifestFile))
}

func packFile(w *tar.Writer, file, name string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return err
	}
	_, err = io.CopyN(w, f, info.Size())
	return err
}

// unpack makes the folder dir of an archive with folders and files; anything else in
// it is left out. The manifest gets its name last: half a copy is no tape.
func unpack(r io.Reader, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	part := manifestFile + ".part"
	in := tar.NewReader(r)
	for {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return root.Rename(part, manifestFile)
		}
		if err != nil {
			return err
		}
		name := filepath.FromSlash(path.Clean(strings.TrimPrefix(head.Name, "/")))
		switch head.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o700)
		case tar.TypeReg:
			if name == manifestFile {
				name = part
			}
			err = unpackFile(root, name, in)
		}
		if err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, name string, content io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}
