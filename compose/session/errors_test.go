package session

import (
	"errors"
	"testing"

	"github.com/wiretape/wiretape/httpstream/event"
)

func TestPrivilegedIsAdvisedWhereItHelps(t *testing.T) {
	var plain EngineInfo
	const other = "what the engine says is its own; docker run --rm with any image may show the same"
	for _, test := range []struct {
		engine     string
		privileged bool
		want       string
	}{
		{"OCI runtime create failed: unable to apply caps: operation not permitted", false, plain.PrivilegeHint(false)},
		{"OCI runtime create failed: unable to apply apparmor profile", false, plain.PrivilegeHint(false)},
		{"OCI runtime create failed: operation not permitted", true, plain.PrivilegeHint(true)},
		{"no space left on device", false, other},
		{"Pool overlaps with other one on this address space", false, other},
	} {
		var e *event.Problem
		if err := StartError(errors.New(test.engine), plain, test.privileged); !errors.As(err, &e) || e.Kind != event.Environment || e.Next != test.want {
			t.Errorf("%s: the hint is %q", test.engine, e.Next)
		}
	}
	for _, test := range []struct {
		fatal      event.Problem
		privileged bool
		want       string
	}{
		{event.Problem{Kind: event.Environment, Next: "use a newer kernel"}, false, "use a newer kernel"},
		{event.Problem{Kind: event.Privilege, Next: "add the capability SYS_ADMIN"}, false, plain.PrivilegeHint(false)},
		{event.Problem{Kind: event.Privilege, Next: "add the capability SYS_ADMIN"}, true, plain.PrivilegeHint(true)},
	} {
		if got := FatalNext(plain, test.privileged)(&test.fatal); got != test.want {
			t.Errorf("%+v: the hint is %q", test.fatal, got)
		}
	}
}
