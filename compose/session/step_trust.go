package session

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	mitmtls "github.com/wiretape/wiretape/tls"
	"golang.org/x/sync/errgroup"
)

// readRoots reads the root certificates that the containers of each service trust on
// their own.
type readRoots struct {
	Services []Service
	created  *Planned[Created]
}

func (s readRoots) Call() string       { return "" } // it changes nothing
func (s readRoots) Cause() string      { return "" }
func (s readRoots) UndoCall() string   { return "" }
func (s readRoots) ByHand(*Env) string { return "" }

func (s readRoots) Undo(context.Context, *Env) error { return nil }

// Do returns the roots as PEM, by service.
func (s readRoots) Do(ctx context.Context, e *Env) (map[string][]byte, error) {
	created := s.created.Result()
	var mu sync.Mutex
	roots := make(map[string][]byte)
	g, gctx := errgroup.WithContext(ctx)
	for _, svc := range s.Services {
		env := created.Environments[svc.Name]
		i := slices.IndexFunc(created.Containers, func(c Container) bool { return c.Service == svc.Name })
		merge := mitmtls.MergeEnv(env.Variables, svc.Trust)
		for _, kept := range merge.Kept {
			e.Report(Warn, fmt.Sprintf("service %s keeps its own trust store %s (%s): its programs may reject our certificates",
				svc.Name, kept.Path, kept.Variable), "import the output of wiretape ca export into it")
		}
		if i < 0 {
			continue
		}
		g.Go(func() error {
			own, err := ownRoots(gctx, e.Engine, created.Containers[i].ID, env.WorkingDir, merge.Files)
			if err != nil {
				return fmt.Errorf("read the root certificates of service %s: %w", svc.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			roots[svc.Name] = own
			return nil
		})
	}
	return roots, g.Wait()
}

// writeTrust writes what the runtimes of the services must be given to trust our
// certificates as well.
type writeTrust struct {
	Volume   string
	Services []Service
	roots    *Planned[map[string][]byte]
}

func (s writeTrust) Call() string {
	names := make([]string, len(s.Services))
	for i, t := range s.Services {
		names[i] = t.Name
	}
	return fmt.Sprintf("write to volume %s the root certificates of %s, and ours", s.Volume, strings.Join(names, ", "))
}
func (s writeTrust) Cause() string      { return "runtimes trust the certificates that the proxy shows" }
func (s writeTrust) UndoCall() string   { return "removing the volume removes them" }
func (s writeTrust) ByHand(*Env) string { return "" }

func (s writeTrust) Undo(context.Context, *Env) error { return nil }

func (s writeTrust) Do(ctx context.Context, e *Env) (None, error) {
	roots, err := s.roots.wait(ctx)
	if err != nil {
		return None{}, err
	}
	files := make(map[string][]byte)
	for _, svc := range s.Services {
		bundle, err := trustFiles(e.Options.Root, svc.Trust, roots[svc.Name])
		if err != nil {
			return None{}, fmt.Errorf("service %s: %w", svc.Name, err)
		}
		for name, data := range bundle {
			files[path.Join(svc.Folder, name)] = data
		}
	}
	return None{}, putFiles(ctx, e.Engine, e.State.agent(), agentTrust, files)
}

// trustFiles are the files of one service: its own roots and ours, or Mozilla's
// and ours where it has none.
func trustFiles(root *mitmtls.Root, dir string, own []byte) (map[string][]byte, error) {
	if len(own) == 0 {
		own = mitmtls.MozillaRoots()
	}
	anchor := root.Anchor()
	return mitmtls.BundleFiles(dir, mitmtls.MergeBundle(own, anchor), anchor)
}

// ownRoots reads the roots that a container trusts on its own, as PEM: its
// operating system's, and the files that its variables name.
func ownRoots(ctx context.Context, e Engine, id, workDir string, named []mitmtls.EnvFile) ([]byte, error) {
	var roots []byte
	for _, file := range mitmtls.ContainerRootFiles() {
		data, err := readFile(ctx, e, id, file)
		if err != nil {
			return nil, err
		}
		if len(data) > 0 {
			roots = append(data, '\n')
			break
		}
	}
	for _, f := range named {
		file := f.Path
		if !path.IsAbs(file) {
			file = path.Join("/", workDir, file)
		}
		data, err := readFile(ctx, e, id, file)
		if err != nil {
			return nil, err
		}
		roots = append(append(roots, data...), '\n')
	}
	return bytes.TrimSpace(roots), nil
}

// maxRootFile bounds what is read of a container as root certificates.
const maxRootFile = 16 << 20

// readFile reads a file of a container, with symbolic links followed. It
// returns nothing for what is not there or not a file.
func readFile(ctx context.Context, e Engine, id, file string) ([]byte, error) {
	for range 16 {
		content, stat, err := e.CopyFromContainer(ctx, id, file)
		if errdefs.IsNotFound(err) || err != nil && strings.Contains(err.Error(), "not a directory") {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		data, link, err := firstFile(content)
		content.Close()
		if err != nil {
			return nil, err
		}
		if link == "" {
			return data, nil
		}
		if stat.LinkTarget != "" {
			link = stat.LinkTarget // resolved by the engine
		}
		if !path.IsAbs(link) {
			link = path.Join(path.Dir(file), link)
		}
		if link == file {
			return nil, nil
		}
		file = link
	}
	return nil, nil
}

// firstFile returns the file that a tar begins with, or where it links to.
func firstFile(r io.Reader) (data []byte, link string, err error) {
	t := tar.NewReader(r)
	head, err := t.Next()
	if errors.Is(err, io.EOF) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	switch head.Typeflag {
	case tar.TypeSymlink:
		return nil, head.Linkname, nil
	case tar.TypeReg:
		data, err = io.ReadAll(io.LimitReader(t, maxRootFile))
		return data, "", err
	}
	return nil, "", nil
}

// putFiles writes files below dir in a container, readable by everyone.
func putFiles(ctx context.Context, e Engine, id, dir string, files map[string][]byte) error {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	made := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for i := range name {
			if parent := name[:i]; name[i] == '/' && !made[parent] {
				made[parent] = true
				if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: parent + "/", Mode: 0o755}); err != nil {
					return err
				}
			}
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			return err
		}
		if _, err := w.Write(files[name]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := e.CopyToContainer(ctx, id, dir, &buf, container.CopyToContainerOptions{}); err != nil {
		return fmt.Errorf("write the trust files: %w", err)
	}
	return nil
}
