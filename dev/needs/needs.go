// Package needs skips tests where what they need is missing: an engine, a kernel, time.
//
// With -short, as in make check, it skips them all. Else WIRETAPE_REQUIRE_ENGINE=1 and
// WIRETAPE_REQUIRE_KERNEL=1, which make test sets, fail a test instead, so that none is
// passed over in silence.
package needs

import (
	"os"
	"testing"
)

// Engine is for tests that need a Docker engine or its command. probe says why there is
// none.
func Engine(t testing.TB, probe func() error) {
	t.Helper()
	need(t, "the engine", "WIRETAPE_REQUIRE_ENGINE", probe)
}

// Kernel is for tests that need root, and what Linux has for it. probe says what is
// missing.
func Kernel(t testing.TB, probe func() error) {
	t.Helper()
	need(t, "the kernel", "WIRETAPE_REQUIRE_KERNEL", probe)
}

// Time is for tests that take more than about a second, or judge how long something
// takes.
func Time(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs time")
	}
}

// need skips or fails a test for which probe returns an error. dev/check counts by what
// is printed here.
func need(t testing.TB, what, variable string, probe func() error) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs " + what)
	}
	switch err := probe(); {
	case err == nil:
	case os.Getenv(variable) == "1":
		t.Fatalf("needs %s, and %s is set: %v", what, variable, err)
	default:
		t.Skipf("needs %s: %v", what, err)
	}
}
