package report

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The files that WriteAll writes.
const (
	JSONFile  = "report.json"
	JUnitFile = "junit.xml"
	HTMLFile  = "index.html"
)

// WriteAll writes report.json, junit.xml and index.html into dir, which it makes
// if need be. Each file is there whole or as it was before. Only the user can
// read them, since an answer may hold what a tape has redacted: files are made
// with mode 0600, folders with 0700.
func WriteAll(dir string, r *Run) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the report can't be written: %w; give another folder with --report", err)
	}
	for _, f := range []struct {
		name   string
		render func(io.Writer, *Run) error
	}{{JSONFile, JSON}, {JUnitFile, JUnit}, {HTMLFile, HTML}} {
		file := filepath.Join(dir, f.name)
		if err := writeFile(file, func(w io.Writer) error { return f.render(w, r) }); err != nil {
			return fmt.Errorf("the report %s can't be written: %w", file, err)
		}
	}
	return nil
}

// writeFile puts a file in place when all of it is on the disk. Temporary files
// have mode 0600 from the start.
func writeFile(file string, render func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriter(f)
	if err := render(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
