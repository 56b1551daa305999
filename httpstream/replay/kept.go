package replay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"unsafe"

	"github.com/wiretape/wiretape/httpstream/tape"
)

const (
	// maxSmall is how long the stream of a small answer is, in bytes: it is read at
	// once, by who plays it, and may be kept for the next time.
	maxSmall = 16 << 10
	// maxKept is how much of all small answers together is kept, in bytes.
	maxKept = 32 << 20
)

// A wholeReader is a LineReader that may have its stream in memory.
type wholeReader interface {
	LineReader
	// Small reports whether all that is left of the stream has been read from the
	// disk, and is no longer than limit bytes.
	Small(limit int) bool
}

// kept are the lines of small answers that were played. The zero value is empty.
type kept struct {
	mu    sync.RWMutex
	lines map[*tape.Exchange][]tape.Line
	size  int
}

func (k *kept) get(x *tape.Exchange) ([]tape.Line, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	lines, ok := k.lines[x]
	return lines, ok
}

// put keeps lines, in the place of others where there is no more room.
func (k *kept) put(x *tape.Exchange, lines []tape.Line) {
	size := sizeOf(lines)
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.lines[x]; known {
		return
	}
	if k.lines == nil {
		k.lines = map[*tape.Exchange][]tape.Line{}
	}
	for other, lines := range k.lines { // in random order
		if k.size+size <= maxKept {
			break
		}
		k.size -= sizeOf(lines)
		delete(k.lines, other)
	}
	k.lines[x] = lines
	k.size += size
}

func sizeOf(lines []tape.Line) int {
	size := len(lines) * int(unsafe.Sizeof(tape.Line{}))
	for i := range lines {
		size += len(lines[i].Data)
	}
	return size
}

// loaded are lines in memory.
type loaded struct {
	lines []tape.Line
	err   error // behind them; nil for io.EOF
}

// next implements lineSource.
func (l *loaded) next(ctx context.Context) (tape.Line, error) {
	switch {
	case ctx.Err() != nil:
		return tape.Line{}, ctx.Err()
	case len(l.lines) > 0:
		line := l.lines[0]
		l.lines = l.lines[1:]
		return line, nil
	case l.err != nil:
		return tape.Line{}, l.err
	}
	return tape.Line{}, io.EOF
}

// close implements lineSource.
func (l *loaded) close() {}

// source returns the lines of an exchange: those of a small answer at once, others
// read ahead. What is two-way is never kept: its lines may be changed as they are played.
func (p *Player) source(ctx context.Context, x *tape.Exchange) lineSource {
	if !x.HasStream() {
		return &loaded{}
	}
	if x.TwoWay || tunnel(x) {
		return prefetch(ctx, func() (LineReader, error) { return p.open(x) }, x.TwoWay)
	}
	if lines, ok := p.kept.get(x); ok {
		return &loaded{lines: lines}
	}
	r, err := p.open(x)
	if err != nil {
		return &loaded{err: err}
	}
	if w, ok := r.(wholeReader); !ok || !w.Small(maxSmall) {
		return prefetch(ctx, func() (LineReader, error) { return r, nil }, false)
	}
	defer r.Close()
	var lines []tape.Line
	for {
		l, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			p.kept.put(x, lines)
			return &loaded{lines: lines}
		case err != nil:
			return &loaded{lines: lines, err: err}
		case !l.FromClient:
			l.Data = bytes.Clone(l.Data)
			lines = append(lines, l)
		}
	}
}
