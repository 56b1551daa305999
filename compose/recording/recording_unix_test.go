//go:build unix

package recording

import (
	"os"
	"path/filepath"
	"time"

	"io/fs"
	"syscall"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestWhoseTurnItIsWhenAFileCanNotBeWritten(t *testing.T) {
	for _, test := range []struct {
		err  error
		want event.ProblemKind
	}{
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.ENOSPC}, event.Environment},
		{fs.ErrPermission, event.Environment},
		{syscall.ENOTDIR, event.Usage},
	} {
		if got := FileError("", "make the tape: %w", test.err).Kind; got != test.want {
			t.Errorf("%v has kind %s, want %s", test.err, got, test.want)
		}
	}
}

// What root goes on with for another user is that user's.
func TestARecordingForAnotherUserIsTheirs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	const uid, gid = 1234, 2345
	dir := filepath.Join(t.TempDir(), "tape")
	p, err := Create(dir, tape.Manifest{Created: time.Now(), By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Leave(); err != nil {
		t.Fatal(err)
	}
	theirs, err := ResumeIn(p.Folder(), &tape.Owner{UID: uid, GID: gid})
	if err != nil {
		t.Fatal(err)
	}
	for id, size := range []int{10, 100 << 10} { // in one file, and in two
		x := &tape.Exchange{Kind: tape.Call, Number: id + 1, Request: tape.Request{Method: "GET", URL: "http://x/", Proto: "HTTP/1.1"}}
		records, err := new(tape.Encoder).Whole(int64(id+1), x, &tape.Line{Chunk: httpstream.Chunk{Data: make([]byte, size)}}, &tape.Line{End: &httpstream.EndInfo{How: httpstream.EOF}})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			theirs.Apply(r)
		}
	}
	result, err := theirs.Finish(Succeeded)
	if err != nil || !result.Complete {
		t.Fatalf("%+v, %v", result, err)
	}
	files := 0
	err = filepath.WalkDir(p.Folder(), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() { // the folders were made before
			return err
		}
		files++
		info, err := d.Info()
		if err != nil {
			return err
		}
		if s := info.Sys().(*syscall.Stat_t); s.Uid != uid || s.Gid != gid {
			t.Errorf("%s is %d's", name, s.Uid)
		}
		return nil
	})
	if err != nil || files < 4 {
		t.Errorf("there are %d files: %v", files, err)
	}
	if result, err = p.Place(result, Succeeded); err != nil || result.Tape != dir || result.Worth != tape.Unanswered {
		t.Errorf("%+v, %v", result, err)
	}
}
