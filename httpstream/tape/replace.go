package tape

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Replace puts the finished recording newDir in the place of dir, and removes
// the tape that was there. When it fails, dir is as it was. What a tape does not
// own in dir, such as a README beside tape.yaml, moves over. It refuses to
// replace a folder that is not empty and not a tape.
func Replace(newDir, dir string) error {
	if !isTape(newDir) {
		return noTape(newDir)
	}
	if target, err := filepath.EvalSymlinks(dir); err == nil {
		dir = target
	}
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return err
		}
		return moveInto(newDir, dir)
	}
	if err != nil {
		return err
	}
	if same, err := os.Stat(newDir); err == nil && os.SameFile(info, same) {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		if err := os.Remove(dir); err != nil {
			return err
		}
		return moveInto(newDir, dir)
	}
	if !isTape(dir) {
		return fmt.Errorf("%s is not empty and not a tape (it has no %s), so it is not replaced: choose another folder for the tape", dir, manifestName)
	}
	old, err := swap(newDir, dir)
	if err != nil {
		return err
	}
	return discard(old, dir)
}

// A Worth is how much there is on a tape, for what takes whose place.
type Worth int

const (
	Nothing    Worth = iota // no exchange
	Unanswered              // calls were made, or names asked for, and none was answered
	Something
)

// WorthOf looks at the tape at dir; one that can't be read may be worth something.
func WorthOf(dir string) Worth {
	if !isTape(dir) {
		return Nothing
	}
	t, err := Open(dir)
	switch {
	case err != nil:
		return Something
	case slices.ContainsFunc(t.Calls, func(x *Exchange) bool { return x.Response != nil }):
		return Something
	case len(t.Calls) > 0, slices.ContainsFunc(t.Manifest.Names, func(n Name) bool { return n.RCode == "SERVFAIL" }):
		return Unanswered
	case len(t.Cases) == 0:
		return Nothing
	}
	return Something
}

func isTape(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, manifestName))
	return err == nil && info.Mode().IsRegular()
}

func moveInto(newDir, dir string) error {
	if err := os.Rename(newDir, dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// swapInTwoSteps is for systems that can't exchange two names at once. A crash
// between the steps leaves the old tape beside its place, whole.
func swapInTwoSteps(newDir, dir string) (old string, err error) {
	old = dir + ".old"
	for i := 2; ; i++ {
		if _, err := os.Lstat(old); errors.Is(err, fs.ErrNotExist) {
			break
		}
		old = fmt.Sprintf("%s.old%d", dir, i)
	}
	if err := os.Rename(dir, old); err != nil {
		return "", err
	}
	if err := os.Rename(newDir, dir); err != nil {
		return "", errors.Join(err, os.Rename(old, dir))
	}
	return old, syncDir(filepath.Dir(dir))
}

// discard removes the old tape, and moves what is not its own to the new one.
func discard(old, dir string) error {
	entries, err := os.ReadDir(old)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case manifestName, "." + manifestName + ".tmp", callsDir, casesDir, streamsDir:
			continue
		}
		if err := os.Rename(filepath.Join(old, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("the new tape is in place; moving over what was beside the old one: %w", err)
		}
	}
	return os.RemoveAll(old)
}
