package main

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A screen is a terminal's memory: what was written, and the last line as it stands.
type screen struct {
	mu   sync.Mutex
	text string
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for piece := range strings.SplitSeq(string(p), "\n") {
		s.text += piece + "\n"
	}
	s.text = strings.TrimSuffix(s.text, "\n")
	if i := strings.LastIndex(s.text, clearLine); i >= 0 {
		s.text = s.text[:strings.LastIndex(s.text[:i], "\n")+1] + s.text[i+len(clearLine):]
	}
	return len(p), nil
}

func (s *screen) shows() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.NewReplacer("\x1b[2m", "<", "\x1b[0m", ">").Replace(s.text)
}

func TestTheLiveLineIsThereWhileNothingElseIsPrinted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{}
		l := &liveLine{w: s, width: func() int { return 30 }}
		want := func(what string) {
			t.Helper()
			synctest.Wait()
			if got := s.shows(); got != what {
				t.Errorf("the screen shows %q, want %q", got, what)
			}
		}
		l.at("starting\tthe services")
		time.Sleep(300 * time.Millisecond)
		want("")
		time.Sleep(500 * time.Millisecond)
		want("<starting the services>")
		time.Sleep(2 * time.Second)
		want("<starting the services 2s>")
		l.Write([]byte("ready\n"))
		want("ready\n")
		time.Sleep(300 * time.Millisecond)
		want("ready\n")
		time.Sleep(500 * time.Millisecond)
		want("ready\n<starting the services 3s>")
		l.at("what is so long that it does not fit on a line")
		time.Sleep(time.Second)
		want("ready\n<what is so long that it does…>")
		l.off()
		want("ready\n")
		time.Sleep(2 * time.Second)
		want("ready\n")
		l.at("again")
		time.Sleep(time.Second)
		want("ready\n<again 1s>")
		l.off()
		l.off()
		want("ready\n")
	})
}

func TestNoLiveLineIsOneThatDoesNothing(t *testing.T) {
	l := newLiveLine(&strings.Builder{})
	if l != nil {
		t.Fatal("there is one where there is no terminal")
	}
	l.at("a")
	l.while(func(time.Duration) string { return "b" })
	l.off()
}
