package compose

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/wiretape/wiretape/compose/session"
)

func TestEveryErrorOfASessionHasAKind(t *testing.T) {
	full := session.FileError("", "make the tape: %w", &fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.ENOSPC})
	for _, test := range []struct {
		err  error
		want Kind
	}{
		{errors.New("something"), Environment},
		{fmt.Errorf("copy the tape: %w", fs.ErrNotExist), Environment},
		{session.UsageError("", "flags"), Usage},
		{errors.Join(session.UsageError("", "flags"), errors.New("more")), Usage},
		{full, Environment},
		{session.FileError("", "make the tape: %w", fs.ErrPermission), Environment},
		{session.FileError("", "make the tape: %w", syscall.ENOTDIR), Usage},
	} {
		var e *Error
		if !errors.As(asEnvironment(test.err), &e) || e.Kind != test.want {
			t.Errorf("%v has kind %d, want %d", test.err, e.Kind, test.want)
		}
	}
	for _, err := range []error{nil, context.Canceled, &CommandError{Err: errors.New("compose says")}} {
		if got := asEnvironment(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}
