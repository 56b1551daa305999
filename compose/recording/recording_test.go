package recording

import (
	"io/fs"
	"syscall"
	"testing"

	"github.com/wiretape/wiretape/httpstream/event"
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
