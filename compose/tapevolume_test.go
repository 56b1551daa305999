package compose

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// tapeVolume is the name of a volume for a test, which is removed when it ends.
func (p *testProject) tapeVolume(suffix string) recording.Volume {
	at, _, err := recording.ParseVolume("volume:" + p.name + "-" + suffix)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := p.engine.VolumeRemove(context.Background(), at.Name, true); err != nil {
			p.t.Error(err)
		}
	})
	return at
}

// readVolume copies a tape out of a volume.
func (p *testProject) readVolume(at recording.Volume) string {
	p.t.Helper()
	dir := filepath.Join(p.t.TempDir(), "tape")
	if err := ReadTape(p.t.Context(), p.options(), at, dir); err != nil {
		p.t.Fatal(err)
	}
	return dir
}

func TestATapeIsRecordedToAVolumeAndPlayedFromIt(t *testing.T) {
	p := newTestProject(t, webYAML)
	before := p.inventory()
	at := p.tapeVolume("tapes")
	opt := p.options()
	opt.Tape = at.String()
	var id string
	record := func() {
		t.Helper()
		result, err := Run(t.Context(), opt, func(ctx context.Context, s *Session) error {
			id = s.ID()
			got, err := fetch(ctx, s, "http://api.example.com/a")
			if err == nil && got != streamed {
				t.Errorf("the app got %q", got)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		p.wantAsBefore(before, id)
		if !result.Complete || result.Kept || result.Tape != at.String() || result.Worth != tape.Something {
			t.Errorf("the recording is not good: %+v", result)
		}
	}
	record()
	record() // in the place of the other
	tp, err := tape.Open(p.readVolume(at))
	if err != nil {
		t.Fatal(err)
	}
	if len(tp.Calls) != 1 || len(tp.Cases) != 1 || len(tp.Verify()) != 0 || tp.Manifest.Project != p.name || !tp.Manifest.Complete {
		t.Fatalf("the tape has %d calls and %d cases, %+v", len(tp.Calls), len(tp.Cases), tp.Manifest)
	}

	// One on which nothing is does not take its place.
	result, err := Run(t.Context(), opt, func(context.Context, *Session) error { return nil })
	if err != nil || !result.Kept || !result.Dropped || result.Tape != at.String() {
		t.Errorf("nothing was recorded: %+v, %v", result, err)
	}
	// One whose command failed is kept beside it.
	result, err = Run(t.Context(), opt, func(ctx context.Context, s *Session) error {
		_, err := fetch(ctx, s, "http://api.example.com/a")
		return errors.Join(err, errors.New("the command failed"))
	})
	if err == nil || !result.Kept || result.Tape != at.String()+"/tape.new" {
		t.Errorf("a failed command: %+v, %v", result, err)
	}

	timeout := 0
	if err := p.engine.ContainerStop(t.Context(), p.outside, container.StopOptions{Timeout: &timeout}); err != nil {
		t.Fatal(err)
	}
	opt.Mode = "replay"
	_, err = Run(t.Context(), opt, func(ctx context.Context, s *Session) error {
		id = s.ID()
		mount := p.docker("inspect", "--format", "{{range .Mounts}}{{.Name}} {{.Destination}} {{.RW}}\n{{end}}", "wiretape-"+id+"-agent")
		if !strings.Contains(mount, at.Name+" /tape false") {
			t.Errorf("the agent has the mounts %q", mount)
		}
		if got, err := fetch(ctx, s, "http://api.example.com/a"); err != nil || got != streamed {
			t.Errorf("replayed: %q, %v", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wantAsBefore(before, id)
}

func TestWhatTheAppHasHeardIsInTheVolumeWhenTheCLIIsKilled(t *testing.T) {
	for range killRounds() {
		p := newTestProject(t, webYAML)
		at := p.tapeVolume("tapes")
		heard := p.killWhileRecording(at.String())
		dir := p.readVolume(at)
		wantOnTape(t, dir, heard)
		tp, err := tape.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if problems := tp.Verify(); len(problems) != 1 || !strings.Contains(problems[0].Msg, "was killed while it recorded") {
			t.Errorf("the tape has the problems %v", problems)
		}
	}
}

func TestATapeIsTheSameAfterCopies(t *testing.T) {
	p := newTestProject(t, webYAML)
	dir := filepath.Join(p.dir, "tapes", "default")
	if _, err := Run(t.Context(), p.options(), func(ctx context.Context, s *Session) error {
		_, err := fetch(ctx, s, "http://api.example.com/a")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	at := p.tapeVolume("copy")
	if err := WriteTape(t.Context(), p.options(), dir, at); err != nil {
		t.Fatal(err)
	}
	wantSameFolder(t, dir, p.readVolume(at))

	err := WriteTape(t.Context(), p.options(), dir, at)
	wantUsage(t, err, "there is a tape at "+at.String())
	other := at
	other.Folder = "other"
	wantUsage(t, ReadTape(t.Context(), p.options(), other, t.TempDir()), "there is no tape at "+other.String())
	other.Name += "-missing"
	wantUsage(t, ReadTape(t.Context(), p.options(), other, t.TempDir()), "no volume "+other.Name)
	if list := p.docker("ps", "-aq", "--filter", "label=io.wiretape.tape="+at.Name); list != "" {
		t.Errorf("containers are left: %s", list)
	}
}

func wantUsage(t *testing.T, err error, text string) {
	t.Helper()
	var problem *event.Problem
	if !errors.As(err, &problem) || problem.Kind != event.Usage || problem.Next == "" || !strings.Contains(err.Error(), text) {
		t.Errorf("the error is %v; want %q", err, text)
	}
}

// wantSameFolder compares files and modes.
func wantSameFolder(t *testing.T, a, b string) {
	t.Helper()
	content := func(root string) map[string]string {
		all := make(map[string]string)
		err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			var data []byte
			if !d.IsDir() {
				data, err = os.ReadFile(filepath.Join(root, name))
			}
			all[name] = info.Mode().String() + " " + string(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	was, is := content(a), content(b)
	if len(was) < 4 || len(was) != len(is) {
		t.Errorf("%d files became %d", len(was), len(is))
	}
	for name := range was {
		if was[name] != is[name] {
			t.Errorf("%s was %q and is %q", name, was[name], is[name])
		}
	}
}
