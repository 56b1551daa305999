package session

import (
	"errors"
	"testing"

	"github.com/wiretape/wiretape/compose/agent"
)

func TestPrivilegedIsAdvisedWhereItHelps(t *testing.T) {
	const other = "what the engine says is its own; docker run --rm with any image may show the same"
	for _, test := range []struct {
		engine     string
		privileged bool
		want       string
	}{
		{"OCI runtime create failed: unable to apply caps: operation not permitted", false, PrivilegeHint(false)},
		{"OCI runtime create failed: unable to apply apparmor profile", false, PrivilegeHint(false)},
		{"OCI runtime create failed: operation not permitted", true, PrivilegeHint(true)},
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
		{agent.Fatal{Hint: "add the capability SYS_ADMIN", Unsupported: true, Permission: true}, false, PrivilegeHint(false)},
		{agent.Fatal{Hint: "add the capability SYS_ADMIN", Unsupported: true, Permission: true}, true, PrivilegeHint(true)},
	} {
		if got := FatalHint(test.privileged)(&test.fatal); got != test.want {
			t.Errorf("%+v: the hint is %q", test.fatal, got)
		}
	}
}
