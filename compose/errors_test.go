package compose

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
)

func TestPrivilegedIsAdvisedWhereItHelps(t *testing.T) {
	const other = "what the engine says is its own; docker run --rm with any image may show the same"
	for _, test := range []struct {
		engine     string
		privileged bool
		want       string
	}{
		{"OCI runtime create failed: unable to apply caps: operation not permitted", false, session.PrivilegeHint(false)},
		{"OCI runtime create failed: unable to apply apparmor profile", false, session.PrivilegeHint(false)},
		{"OCI runtime create failed: operation not permitted", true, session.PrivilegeHint(true)},
		{"no space left on device", false, other},
		{"Pool overlaps with other one on this address space", false, other},
	} {
		var e *Error
		if err := startError(errors.New(test.engine), test.privileged); !errors.As(err, &e) || e.Kind != Environment || e.Hint != test.want {
			t.Errorf("%s: the hint is %q", test.engine, e.Hint)
		}
	}
	for _, test := range []struct {
		fatal      agent.Fatal
		privileged bool
		want       string
	}{
		{agent.Fatal{Hint: "use a newer kernel", Unsupported: true}, false, "use a newer kernel"},
		{agent.Fatal{Hint: "add the capability SYS_ADMIN", Unsupported: true, Permission: true}, false, session.PrivilegeHint(false)},
		{agent.Fatal{Hint: "add the capability SYS_ADMIN", Unsupported: true, Permission: true}, true, session.PrivilegeHint(true)},
	} {
		if got := session.FatalHint(test.privileged)(&test.fatal); got != test.want {
			t.Errorf("%+v: the hint is %q", test.fatal, got)
		}
	}
}

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
