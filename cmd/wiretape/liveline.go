package main

import (
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/term"
)

const (
	// liveSilence is how long nothing else was printed before the line is shown, and
	// liveEvery how often it is drawn.
	liveSilence = 500 * time.Millisecond
	liveEvery   = 200 * time.Millisecond
	clearLine   = "\r\x1b[K"
)

// A liveLine is the last line of a terminal: what a session is at while nothing else is
// printed. What is written through it takes the line away first. A nil one does nothing.
type liveLine struct {
	w     io.Writer
	width func() int

	mu      sync.Mutex
	text    func(time.Duration) string // what it is at, given for how long; nil for nothing
	since   time.Time
	written time.Time
	shown   string
	stop    chan struct{} // nil unless drawn
	stopped chan struct{}
}

// newLiveLine returns nil where nobody looks at it: in pipes, and on terminals that can't
// clear a line.
func newLiveLine(w io.Writer) *liveLine {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(w) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &liveLine{w: w, width: func() int { return terminalWidth(f) }}
}

// terminalWidth is 80 where it is not known.
func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width >= 20 {
			return width
		}
	}
	return 80
}

// Write writes what stays.
func (l *liveLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear()
	l.written = time.Now()
	return l.w.Write(p)
}

// at says what the session is at from here on.
func (l *liveLine) at(text string) {
	l.while(func(since time.Duration) string {
		if since < time.Second {
			return text
		}
		return text + "  " + since.Truncate(time.Second).String()
	})
}

// while is at for a text that changes as time goes by. It may be called late, and never
// once the line is for something else.
func (l *liveLine) while(text func(time.Duration) string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text, l.since = text, time.Now()
	if l.stop == nil {
		l.written = l.since
		l.stop, l.stopped = make(chan struct{}), make(chan struct{})
		go l.draw(l.stop, l.stopped)
	}
}

// off takes the line away, until the session is at something else.
func (l *liveLine) off() {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.text = nil
	l.clear()
	stop, stopped := l.stop, l.stopped
	l.stop = nil
	l.mu.Unlock()
	if stop != nil {
		close(stop)
		<-stopped
	}
}

func (l *liveLine) draw(stop, stopped chan struct{}) {
	defer close(stopped)
	ticker := time.NewTicker(liveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			l.redraw()
		}
	}
}

func (l *liveLine) redraw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text == nil || time.Since(l.written) < liveSilence {
		return
	}
	line := fit(l.text(time.Since(l.since)), l.width()-1)
	if line == l.shown {
		return
	}
	l.shown = line
	_, _ = io.WriteString(l.w, clearLine+sgr("2", line))
}

func (l *liveLine) clear() {
	if l.shown != "" {
		l.shown = ""
		_, _ = io.WriteString(l.w, clearLine)
	}
}

// overLiveLine goes in front of what is printed past the line.
func overLiveLine(w io.Writer) string {
	if isTerminal(w) {
		return clearLine
	}
	return ""
}

// fit is the beginning of a text that does nothing to a terminal.
func fit(text string, width int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	return shorten(strings.Join(strings.Fields(text), " "), width)
}
