package compose

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
	"github.com/wiretape/wiretape/compose/session"
	mitmtls "github.com/wiretape/wiretape/tls"
	"golang.org/x/sync/errgroup"
)

// writeTrust collects the root certificates of each service's containers and
// writes what their runtimes must be given to trust ours as well.
type writeTrust struct {
	Volume  string
	Targets []target
}

func (s writeTrust) Call() string {
	names := make([]string, len(s.Targets))
	for i, t := range s.Targets {
		names[i] = t.Name
	}
	return fmt.Sprintf("write to volume %s the root certificates of %s, and ours", s.Volume, strings.Join(names, ", "))
}
func (s writeTrust) Cause() string          { return "runtimes trust the certificates that the proxy shows" }
func (s writeTrust) UndoCall() string       { return "removing the volume removes them" }
func (s writeTrust) byHand(*Session) string { return "" }

func (s writeTrust) undo(context.Context, *Session) error { return nil }

func (s writeTrust) do(ctx context.Context, r *Session) error {
	list, err := containersWith(ctx, r.engine, r.ours()...)
	if err != nil {
		return session.EngineError(err)
	}
	env, err := r.imageEnv(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	files := make(map[string][]byte)
	g, gctx := errgroup.WithContext(ctx)
	for _, t := range s.Targets {
		i := slices.IndexFunc(list, func(c container.Summary) bool { return c.Labels[composeService] == t.Name })
		merge := mitmtls.MergeEnv(userEnv(r.project.Services[t.Name], env[t.Name]), t.Trust)
		for _, kept := range merge.Kept {
			r.opt.progress(Warn, fmt.Sprintf("service %s keeps its own trust store %s (%s): its programs may reject our certificates",
				t.Name, kept.Path, kept.Variable), "import the output of wiretape ca export into it")
		}
		g.Go(func() error {
			var own []byte
			if i >= 0 {
				var err error
				if own, err = r.ownRoots(gctx, list[i].ID, r.project.Services[t.Name].WorkingDir, merge.Files); err != nil {
					return fmt.Errorf("read the root certificates of service %s: %w", t.Name, err)
				}
			}
			bundle, err := trustFiles(r.opt.Root, t.Trust, own)
			if err != nil {
				return fmt.Errorf("service %s: %w", t.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			r.roots[t.Name] = own
			for name, data := range bundle {
				files[path.Join(t.Folder, name)] = data
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return r.putFiles(ctx, r.state.agent(), agentTrust, files)
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
func (r *Session) ownRoots(ctx context.Context, id, workDir string, named []mitmtls.EnvFile) ([]byte, error) {
	var roots []byte
	for _, file := range mitmtls.ContainerRootFiles() {
		data, err := r.readFile(ctx, id, file)
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
		data, err := r.readFile(ctx, id, file)
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
func (r *Session) readFile(ctx context.Context, id, file string) ([]byte, error) {
	for range 16 {
		content, stat, err := r.engine.CopyFromContainer(ctx, id, file)
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
func (r *Session) putFiles(ctx context.Context, id, dir string, files map[string][]byte) error {
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
	if err := r.engine.CopyToContainer(ctx, id, dir, &buf, container.CopyToContainerOptions{}); err != nil {
		return fmt.Errorf("write the trust files: %w", err)
	}
	return nil
}

// imageEnv returns the variables that the images of the targets set, by
// service. Images that are not there yet have none.
func (r *Session) imageEnv(ctx context.Context) (map[string]map[string]string, error) {
	var mu sync.Mutex
	byService := make(map[string]map[string]string)
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range r.layout.targets {
		ref := r.project.Services[t.Name].Image
		if ref == "" {
			ref = r.state.Project + "-" + t.Name
		}
		g.Go(func() error {
			img, err := r.engine.ImageInspect(ctx, ref)
			if errdefs.IsNotFound(err) || err == nil && img.Config == nil {
				return nil
			}
			if err != nil {
				return session.EngineError(err)
			}
			env := make(map[string]string)
			for _, kv := range img.Config.Env {
				k, v, _ := strings.Cut(kv, "=")
				env[k] = v
			}
			mu.Lock()
			defer mu.Unlock()
			byService[t.Name] = env
			return nil
		})
	}
	return byService, g.Wait()
}
