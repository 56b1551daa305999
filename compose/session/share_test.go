package session

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/wiretape/wiretape/compose/agent"
)

// An elsewhere is an engine on a machine of its own: what it has in the place of a
// mounted folder is the content of a file there, or nothing.
type elsewhere struct {
	Engine
	folder  string // as seen from here; empty if it refuses the mount
	created [][]mount.Mount
	removed int
	copied  int
}

func (e *elsewhere) ContainerCreate(_ context.Context, _ *container.Config, host *container.HostConfig, _ *network.NetworkingConfig, _ *ocispec.Platform, _ string) (container.CreateResponse, error) {
	e.created = append(e.created, host.Mounts)
	if last := host.Mounts[len(host.Mounts)-1]; last.Type == mount.TypeBind && e.folder == "" {
		return container.CreateResponse{}, errors.New("bind source path does not exist")
	}
	return container.CreateResponse{}, nil
}

func (e *elsewhere) ContainerRemove(context.Context, string, container.RemoveOptions) error {
	e.removed++
	return nil
}

func (e *elsewhere) CopyFromContainer(_ context.Context, _, name string) (io.ReadCloser, container.PathStat, error) {
	data, err := os.ReadFile(filepath.Join(e.folder, filepath.Base(name)))
	if err != nil {
		data = []byte("something else")
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = errors.Join(w.WriteHeader(&tar.Header{Name: filepath.Base(name), Typeflag: tar.TypeReg, Size: int64(len(data))}))
	_, werr := w.Write(data)
	return io.NopCloser(&b), container.PathStat{}, errors.Join(err, werr, w.Close())
}

func (e *elsewhere) CopyToContainer(_ context.Context, _, _ string, content io.Reader, _ container.CopyToContainerOptions) error {
	e.copied++
	_, err := io.Copy(io.Discard, content)
	return err
}

func TestATapeIsMountedWhereTheEngineSeesTheSameFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tape.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	linked := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "tape.yaml"), filepath.Join(linked, "tape.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, dir, folder string
		selinux           bool
		created, copied   int
	}{
		{"the same folder", dir, dir, false, 1, 0},
		{"another folder of that name", dir, t.TempDir(), false, 2, 1},
		{"no folder", dir, "", false, 2, 1},
		{"labels", dir, dir, true, 1, 1},
		{"links", linked, linked, false, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			engine := &elsewhere{folder: test.folder}
			e := &Env{Engine: engine, Info: EngineInfo{SELinux: test.selinux}, Options: &Options{}}
			made, err := (makeAgent{Name: "agent", Records: true, Folder: test.dir}).Do(t.Context(), e)
			if shares := test.copied == 0 && runtime.GOOS == "linux"; err != nil || made.writes != shares {
				t.Errorf("a recording: %+v, %v", made, err)
			}
			if last := engine.created[len(engine.created)-1]; !made.writes && last[len(last)-1].Target != agent.UnsavedDir {
				t.Errorf("there is no place for what is not saved: %+v", last)
			}
			engine.created = nil
			if _, err := (makeAgent{Name: "agent", Tape: test.dir}).Do(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			last := engine.created[len(engine.created)-1]
			mounted := last[len(last)-1]
			if want := mount.TypeBind; test.copied == 0 && (mounted.Type != want || !mounted.ReadOnly) {
				t.Errorf("it is mounted as %+v", mounted)
			}
			if test.copied > 0 && mounted.Type != mount.TypeVolume {
				t.Errorf("the copy goes to %+v", mounted)
			}
			if len(engine.created) != test.created || engine.copied != test.copied {
				t.Errorf("%d containers were made, and %d copies", len(engine.created), engine.copied)
			}
			entries, err := os.ReadDir(test.dir)
			if err != nil || len(entries) != 1 {
				t.Errorf("the folder has %v, %v", entries, err)
			}
		})
	}
}
