package replay

import (
	"context"
	"sync"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// Lines opens the stream of an exchange, as Tape.Stream does.
type Lines func(x *tape.Exchange) (LineReader, error)

// A LineReader gives the lines of one stream. The data of a line is valid until
// the next call. After the end line comes io.EOF.
type LineReader interface {
	Next() (tape.Line, error)
	Close() error
}

// FromTape reads the streams of a tape.
func FromTape(t *tape.Tape) Lines {
	return func(x *tape.Exchange) (LineReader, error) { return t.Stream(x) }
}

const (
	prefetchLines = 64
	prefetchBytes = 1 << 20
	// prefetchFirst lines are read at once; each that is taken makes room for one
	// more than itself, up to prefetchLines. Many streams that begin together
	// would else decode what nobody waits for while requests wait to be read.
	prefetchFirst = 8
	// maxRoom is how long a chunk's room is at most that is used again, in bytes.
	maxRoom = 16 << 10
)

// A lineSource gives a timeline its lines.
type lineSource interface {
	// next returns the next line, or io.EOF. The line's data is valid until the next
	// call, in a two-way stream for good.
	next(ctx context.Context) (tape.Line, error)
	// close ends the reading, and returns when the file is closed.
	close()
}

// A prefetcher reads lines ahead of their time, so that no chunk waits for the
// disk, and not further than prefetchBytes, so that no body is held whole.
type prefetcher struct {
	lines  chan fetched
	free   chan []byte // room of chunks that were played; nil where they may be needed longer
	taken  []byte      // the chunk that next returned last
	cancel context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex
	held   int           // bytes
	ahead  int           // lines that are read and not taken
	window int           // how many that may be
	room   chan struct{} // told when there is more of it
}

type fetched struct {
	line tape.Line
	err  error
}

// prefetch begins to read from the stream that open opens, which may be open already;
// client lines are left out unless twoWay.
func prefetch(ctx context.Context, open func() (LineReader, error), twoWay bool) *prefetcher {
	ctx, cancel := context.WithCancel(ctx)
	p := &prefetcher{
		lines:  make(chan fetched, prefetchLines),
		cancel: cancel,
		ended:  make(chan struct{}),
		window: prefetchFirst,
		room:   make(chan struct{}, 1),
	}
	if !twoWay { // else what the client said is compared later
		p.free = make(chan []byte, prefetchLines)
	}
	go func() {
		defer close(p.ended)
		if err := p.read(ctx, open, twoWay); err != nil {
			_ = p.send(ctx, fetched{err: err})
		}
	}()
	return p
}

func (p *prefetcher) read(ctx context.Context, open func() (LineReader, error), twoWay bool) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		l, err := r.Next()
		if err != nil {
			return err
		}
		if l.FromClient && !twoWay {
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		l.Data = p.copied(l.Data)
		if err := p.hold(ctx, len(l.Data)); err != nil {
			return err
		}
		if err := p.send(ctx, fetched{line: l}); err != nil {
			return err
		}
	}
}

// copied returns a copy of a chunk, in the room of one that was played.
func (p *prefetcher) copied(data []byte) []byte {
	if data == nil {
		return nil
	}
	var room []byte
	select {
	case room = <-p.free:
	default:
	}
	return append(room[:0], data...)
}

// recycle takes back the room of the chunk that was taken last.
func (p *prefetcher) recycle() {
	if c := cap(p.taken); c > 0 && c <= maxRoom {
		select {
		case p.free <- p.taken:
		default:
		}
	}
	p.taken = nil
}

// hold waits until there is room for a line of n bytes; one always has room.
func (p *prefetcher) hold(ctx context.Context, n int) error {
	for {
		p.mu.Lock()
		if p.ahead == 0 || p.ahead < p.window && p.held+n <= prefetchBytes {
			p.held += n
			p.ahead++
			p.mu.Unlock()
			return nil
		}
		p.mu.Unlock()
		select {
		case <-p.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *prefetcher) send(ctx context.Context, f fetched) error {
	select {
	case p.lines <- f:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next implements lineSource.
func (p *prefetcher) next(ctx context.Context) (tape.Line, error) {
	p.recycle()
	select {
	case f := <-p.lines:
		if f.err == nil {
			p.release(len(f.line.Data))
			p.taken = f.line.Data
		}
		return f.line, f.err
	case <-ctx.Done():
		return tape.Line{}, ctx.Err()
	}
}

func (p *prefetcher) release(n int) {
	p.mu.Lock()
	p.held -= n
	p.ahead--
	p.window = min(p.window+1, prefetchLines)
	p.mu.Unlock()
	select {
	case p.room <- struct{}{}:
	default:
	}
}

// close implements lineSource.
func (p *prefetcher) close() {
	p.cancel()
	<-p.ended
}
