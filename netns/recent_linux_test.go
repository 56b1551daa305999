package netns

import (
	"errors"
	"os"
	"testing"
	"time"
)

// another opens ns again, as for another connection that comes from it.
func another(t *testing.T, ns *NS) (again *NS, cookie uint64) {
	t.Helper()
	err := ns.Do(func() (err error) {
		again, err = open("/proc/thread-self/ns/net")
		return err
	})
	if err == nil {
		cookie, err = again.Cookie()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.Close() })
	return again, cookie
}

func isClosed(ns *NS) bool {
	return errors.Is(ns.Do(func() error { return nil }), os.ErrClosed)
}

func TestARecentNamespaceIsFoundByItsCookieAlone(t *testing.T) {
	r := NewRecent(time.Hour)
	a, cookieA := another(t, newNS(t, "10.78.0.2/24"))
	b, cookieB := another(t, newNS(t))
	if r.Get(cookieA) != nil || r.Keep(cookieA, b) || r.Get(cookieA) != nil {
		t.Error("a namespace stands for another one")
	}
	if !r.Keep(cookieA, a) || !r.Keep(cookieB, b) {
		t.Fatal("not kept")
	}
	again, _ := another(t, a)
	if r.Keep(cookieA, again) {
		t.Error("kept twice")
	}
	if r.Get(cookieA) != a || r.Get(cookieB) != b {
		t.Error("another one was found")
	}
	if err := hello(r.Get(cookieA), listen(t, a, "10.78.0.2:0")); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil || !isClosed(a) || !isClosed(b) {
		t.Errorf("after Close: %v", err)
	}
	if r.Get(cookieA) != nil || r.Keep(cookieA, again) {
		t.Error("kept after Close")
	}
}

func TestANamespaceThatIsNotUsedAnyMoreIsLetGo(t *testing.T) {
	r := NewRecent(20 * time.Millisecond)
	defer r.Close()
	ns, cookie := another(t, newNS(t))
	if !r.Keep(cookie, ns) {
		t.Fatal("not kept")
	}
	for range 500 {
		if isClosed(ns) {
			if r.Get(cookie) != nil {
				t.Error("it is found all the same")
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("it is still open")
}
