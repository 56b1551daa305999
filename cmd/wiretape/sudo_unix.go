//go:build unix

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// giveToCaller gives files that root owns to the user who called sudo. Of a
// tape and a report it takes what can be a part of one, whatever else is there;
// of the folders above them, and of other files, those that are in a folder of
// the caller's.
func giveToCaller(getenv func(string) string, o outputs) {
	uid, err1 := strconv.Atoi(getenv("SUDO_UID"))
	gid, err2 := strconv.Atoi(getenv("SUDO_GID"))
	if os.Geteuid() != 0 || err1 != nil || err2 != nil || uid <= 0 {
		return
	}
	g := giver{uid, gid}
	for _, dir := range o.tapes {
		for _, dir := range []string{dir, dir + ".new"} {
			if _, err := os.Stat(filepath.Join(dir, "tape.yaml")); err == nil {
				g.above(dir)
				g.within(dir, "tape.yaml", ".open", "calls", "cases", "streams")
			}
		}
	}
	for _, dir := range o.reports {
		g.above(dir)
		g.within(dir, "index.html", "junit.xml", "report.json")
	}
	for _, file := range o.files {
		g.above(file)
	}
}

type giver struct{ uid, gid int }

// above gives a file, and the folders above it, as far as root made them in a
// folder of the caller's.
func (g giver) above(path string) {
	path, err := filepath.Abs(path)
	if err != nil {
		return
	}
	var chain []string
	for ; ; path = filepath.Dir(path) {
		owner, ok := ownerOf(path)
		switch {
		case ok && owner == g.uid:
			for _, p := range chain {
				_ = os.Lchown(p, g.uid, g.gid)
			}
			return
		case ok && owner != 0, path == filepath.Dir(path):
			return // somebody else's, or nobody's but root's
		case ok:
			chain = append(chain, path)
		}
	}
}

// within gives what is called names in a folder, with what is in these, and the
// folder itself where nothing else is in it. It follows no link out of it.
func (g giver) within(dir string, names ...string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return
	}
	defer root.Close()
	for _, name := range names {
		_ = fs.WalkDir(root.FS(), name, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if info, err := root.Lstat(path); err == nil {
				if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid == 0 {
					_ = root.Lchown(path, g.uid, g.gid)
				}
			}
			return nil
		})
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return
	}
	ours := make(map[string]bool)
	for _, name := range names {
		ours[name] = true
	}
	for _, e := range entries {
		if !ours[e.Name()] {
			return
		}
	}
	if owner, ok := ownerOf(dir); ok && owner == 0 && len(entries) > 0 {
		_ = root.Lchown(".", g.uid, g.gid)
	}
}

func ownerOf(path string) (uid int, ok bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
