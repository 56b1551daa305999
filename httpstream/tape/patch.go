package tape

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Patch takes exchanges off the tape at dir and puts others in, which come from
// another tape, with what they say now, which may be another Number than in their
// files, and with what DNS answered for names that the tape lacks. It is done on a
// copy beside dir that then takes its place, so that the tape is as it was where
// anything fails. Every file that is not of these exchanges stays byte for byte,
// and so does the manifest if there is no new name.
func Patch(dir string, remove []*Exchange, from *Tape, add []*Exchange) error {
	skip := make(map[string]bool)
	for _, x := range remove {
		for _, name := range filesOf(x) {
			skip[name] = true
		}
	}
	return changeCopy(dir, skip, func(copied string) error {
		m, err := readManifest(copied)
		if err != nil {
			return err
		}
		if err := m.writable(dir); err != nil {
			return err
		}
		for _, x := range add {
			if err := addExchange(copied, from, x); err != nil {
				return err
			}
		}
		return addNames(copied, &m, from)
	})
}

// changeCopy changes a copy of the tape at dir that lacks the files in skip, and puts
// it in the tape's place, which is as it was where anything fails.
func changeCopy(dir string, skip map[string]bool, change func(copied string) error) (err error) {
	if target, err := filepath.EvalSymlinks(dir); err == nil {
		dir = target
	}
	if !isTape(dir) {
		return noTape(dir)
	}
	// DIR.new is a recording's own: see compose record.
	copied := dir + ".update"
	if isTape(copied) { // of a run that was killed
		if err := os.RemoveAll(copied); err != nil {
			return err
		}
	}
	if err := os.Mkdir(copied, 0o700); err != nil {
		return fmt.Errorf("the copy of the tape: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(copied)
		}
	}()
	for _, sub := range []string{".", callsDir, casesDir, streamsDir} {
		if err := copyFiles(dir, copied, sub, skip); err != nil {
			return err
		}
	}
	if err := change(copied); err != nil {
		return err
	}
	for _, sub := range []string{callsDir, casesDir, streamsDir, "."} {
		if err := syncDir(filepath.Join(copied, sub)); err != nil {
			return err
		}
	}
	if _, err := Open(copied); err != nil {
		return fmt.Errorf("the changed tape: %w", err)
	}
	return Replace(copied, dir)
}

// addExchange puts an exchange of another tape in, as x says it is.
func addExchange(dir string, from *Tape, x *Exchange) error {
	file, stream := fileNames(x)
	added := *x
	if x.Stream != "" {
		added.Stream = stream
		if err := copyFile(filepath.Join(from.Dir, filepath.FromSlash(x.Stream)), filepath.Join(dir, filepath.FromSlash(stream))); err != nil {
			return err
		}
	}
	data, err := encodeExchange(&added)
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(dir, filepath.FromSlash(file)), bytes.NewReader(data))
}

// addNames puts the names of another tape into the manifest.
func addNames(dir string, m *Manifest, from *Tape) error {
	if from == nil {
		return nil
	}
	changed := false
	for _, n := range from.Manifest.Names {
		changed = m.addName(n) || changed
	}
	if !changed {
		return nil
	}
	return rewriteManifest(dir, m)
}

// readManifest reads the manifest of the tape at dir.
func readManifest(dir string) (Manifest, error) {
	name := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(name)
	if err != nil {
		return Manifest{}, err
	}
	return decodeManifest(data, dir, name)
}

// rewriteManifest puts another manifest into a copy of a tape.
func rewriteManifest(dir string, m *Manifest) error {
	name := filepath.Join(dir, manifestName)
	if err := os.Remove(name); err != nil {
		return err
	}
	return writeNew(name, bytes.NewReader(encodeManifest(m)))
}

// filesOf are the files of an exchange, relative to its tape.
func filesOf(x *Exchange) []string {
	folder := callsDir
	if x.Kind == Case {
		folder = casesDir
	}
	files := []string{filepath.Join(folder, filepath.Base(x.File))}
	if x.Stream != "" {
		files = append(files, filepath.FromSlash(x.Stream))
	}
	return files
}

// copyFiles copies what the tape owns in one of its folders.
func copyFiles(dir, to, sub string, skip map[string]bool) error {
	entries, err := os.ReadDir(filepath.Join(dir, sub))
	if errors.Is(err, fs.ErrNotExist) {
		entries, err = nil, nil // git keeps no empty folders
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(to, sub), 0o700); err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		own := sub != "." && !strings.HasPrefix(e.Name(), ".") || sub == "." && e.Name() == manifestName
		return e.IsDir() || !own || skip[filepath.Join(sub, e.Name())]
	})
	for _, e := range entries {
		name := filepath.Join(sub, e.Name())
		if err := copyFile(filepath.Join(dir, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// copyFile makes a durable copy; the target must not exist.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeNew(to, in)
}

// writeNew makes a file durable; it must not exist.
func writeNew(name string, in io.Reader) error {
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
