//go:build unix

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const callerID = 54321

// callersFolder is a folder that belongs to the user who called sudo.
func callersFolder(t *testing.T) string {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, callerID, callerID); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SUDO_UID", "54321")
	t.Setenv("SUDO_GID", "54321")
	return dir
}

func makeFiles(t *testing.T, dir string, names ...string) {
	for _, name := range names {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestThroughSudoTheFilesAreTheCallers(t *testing.T) {
	dir := callersFolder(t)
	makeFiles(t, dir, "tapes/default/tape.yaml", "tapes/default/calls/0001.yaml", "tapes/default.new/tape.yaml",
		"tapes/default.new/streams/call-0001.ndjson", "report/index.html", "wiretape.yaml",
		"etc/tape.yaml", "etc/passwd", "others/report.json", "others/precious")
	outside := filepath.Join(t.TempDir(), "shadow")
	makeFiles(t, filepath.Dir(outside), "shadow")
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "tapes/default/cases")); err != nil {
		t.Fatal(err)
	}
	giveToCaller(os.Getenv, outputs{
		tapes:   []string{filepath.Join(dir, "tapes/default"), filepath.Join(dir, "etc")},
		reports: []string{filepath.Join(dir, "report"), filepath.Join(dir, "others")},
		files:   []string{filepath.Join(dir, "wiretape.yaml"), filepath.Join(dir, "none"), outside},
	})
	for name, want := range map[string]int{
		"tapes": callerID, "tapes/default": callerID, "tapes/default/tape.yaml": callerID, "tapes/default/calls": callerID,
		"tapes/default/calls/0001.yaml": callerID, "tapes/default.new/streams/call-0001.ndjson": callerID,
		"report": callerID, "report/index.html": callerID, "wiretape.yaml": callerID,
		"etc/tape.yaml": callerID, "etc/passwd": 0, "others/report.json": callerID, "others/precious": 0,
	} {
		if got, _ := ownerOf(filepath.Join(dir, name)); got != want {
			t.Errorf("%s belongs to %d, want %d", name, got, want)
		}
	}
	if got, _ := ownerOf(outside); got != 0 {
		t.Errorf("a file outside belongs to %d", got)
	}
}

func TestThroughSudoTheRootIsTheCallers(t *testing.T) {
	dir := callersFolder(t)
	t.Setenv("CAROOT", filepath.Join(dir, ".local", "share", "wiretape"))
	if code := run(t.Context(), []string{"wiretape", "ca", "export"}, streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, name := range []string{".local", ".local/share/wiretape", ".local/share/wiretape/rootCA.pem", ".local/share/wiretape/rootCA-key.pem"} {
		if got, _ := ownerOf(filepath.Join(dir, name)); got != callerID {
			t.Errorf("%s belongs to %d", name, got)
		}
	}
}
