package tape

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/needs"
	"golang.org/x/sys/unix"
)

// A disk is a file system of its own, on a loop device.
type disk struct {
	t      *testing.T
	device string
	dir    string
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	image, d := filepath.Join(t.TempDir(), "image"), &disk{t: t, dir: t.TempDir()}
	needs.Kernel(t, func() error {
		if os.Geteuid() != 0 {
			return errors.New("root is needed to mount a file system")
		}
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(image, 128<<20); err != nil {
			return err
		}
		if _, err := command("mkfs.ext4", "-q", "-F", image); err != nil {
			return err
		}
		device, err := command("losetup", "--find", "--show", image)
		d.device = device
		return err
	})
	t.Cleanup(func() {
		if _, err := command("losetup", "--detach", d.device); err != nil {
			t.Error(err)
		}
	})
	d.mount()
	return d
}

func command(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func (d *disk) mount() {
	d.t.Helper()
	if err := unix.Mount(d.device, d.dir, "ext4", 0, ""); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { unix.Unmount(d.dir, unix.MNT_DETACH) })
}

// cut makes the file system stop at once: what it has not written is lost, its journal
// included. It is EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (fs/ext4/ext4.h).
func (d *disk) cut() {
	d.t.Helper()
	const shutdown, noLogFlush = 0x8004587d, 2
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush); err != nil {
		d.t.Fatal(err)
	}
}

// unmount waits until no mount namespace has the file system any more: one that was
// made meanwhile, as of a container that starts, has a copy for a moment, and a
// mount would then give back the file system that was cut off.
func (d *disk) unmount() {
	d.t.Helper()
	if err := unix.Unmount(d.dir, 0); err != nil {
		d.t.Fatal(err)
	}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		f, err := os.OpenFile(d.device, os.O_RDONLY|unix.O_EXCL, 0)
		if err == nil {
			f.Close()
			return
		}
		if !errors.Is(err, unix.EBUSY) || time.Since(begun) > 30*time.Second {
			d.t.Fatal(err)
		}
	}
}

func TestAPowerCutLosesAtMostWhatWasNotSyncedYet(t *testing.T) {
	needs.Time(t)
	for range 5 {
		d := newDisk(t)
		dir := filepath.Join(d.dir, "tape")
		var mu sync.Mutex
		var durable time.Time // what was finished by then is on the disk
		w, err := create(dir, manifest(), func(files []string) error {
			began := time.Now()
			err := syncTape(dir, files)
			if err == nil {
				mu.Lock()
				durable = began
				mu.Unlock()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var e Encoder
		finished := map[int]time.Time{}
		var safe []int
		for begun, n := time.Now(), 1; ; n++ {
			applyAll(t, w, recordSteps(t, &e, n)...)
			finished[n] = time.Now()
			time.Sleep(time.Millisecond)
			if time.Since(begun) > time.Duration(200+rand.IntN(300))*time.Millisecond {
				break
			}
		}
		cutAt := time.Now()
		d.cut()
		mu.Lock()
		limit := durable
		mu.Unlock()
		for n, at := range finished {
			if at.Before(limit) {
				safe = append(safe, n)
			}
		}
		if err := w.Close(nil); err == nil {
			t.Error("the end of a recording without a disk is said to be good")
		}
		d.unmount()
		d.mount()
		marked := checkCutOff(t, dir, safe)
		if len(safe) == 0 {
			t.Error("nothing was synced before the cut")
		}
		t.Logf("of %d finished exchanges, %d were synced up to %v before the cut, and none is lost; %d are marked", len(finished), len(safe), cutAt.Sub(limit), marked)
		d.unmount()
	}
}
