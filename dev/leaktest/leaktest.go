// Package leaktest fails the tests of a package that leave goroutines behind.
package leaktest

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"
)

// patience is how long goroutines may take to end after the last test: those of an
// engine's client end when the engine has hung up.
const patience = 5 * time.Second

// Main is a TestMain that fails the run if a test left a goroutine behind. What the
// tests shared is taken away by cleanup first. A fuzzing run is not looked at: the
// testing package leaves a goroutine itself.
func Main(m *testing.M, cleanup ...func()) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for _, f := range cleanup {
		f()
	}
	if code == 0 && flag.Lookup("test.fuzz").Value.String() == "" && !endWithin(patience, before) {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// endWithin waits for the number of goroutines to fall back to n.
func endWithin(d time.Duration, n int) bool {
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(d); runtime.NumGoroutine() > n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
