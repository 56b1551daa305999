package session

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/docker/docker/pkg/stdcopy"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// keptStderr is how much of what the agent said last is kept for error messages.
const keptStderr = 4 << 10

// writeTimeout is how long an agent may take to read a line.
const writeTimeout = 30 * time.Second

// A Link is the talk with the agent over its container's standard streams.
type Link struct {
	send    sync.Mutex // held while a line is written
	conn    net.Conn
	message func(agent.FromAgent)
	// autopsy tells how the agent's process ended, for people; "" if it does not know.
	autopsy func() string
	hint    func(*event.Problem) string

	hello   chan agent.Hello
	ready   chan struct{}
	stopped chan struct{}
	done    chan struct{} // closed when the agent is gone; err is set then

	mu      sync.Mutex
	err     error
	closed  bool // by us
	fatal   *event.Problem
	stderr  []byte
	heard   time.Time // when the last line came
	nextID  int64
	replies map[int64]chan agent.Reply
	saved   savedRecords
}

// NewLink talks over conn, and over stream, which carries the agent's standard
// output and error as Docker multiplexes them. Records, events and log lines
// are passed to message, in order, from one goroutine; while it works on one,
// the agent waits. When the agent is gone, autopsy is asked how it ended, and
// hint what to do if it said why.
func NewLink(conn net.Conn, stream io.Reader, message func(agent.FromAgent), autopsy func() string, hint func(*event.Problem) string) *Link {
	l := &Link{
		conn: conn, message: message, autopsy: autopsy, hint: hint,
		hello: make(chan agent.Hello, 1), ready: make(chan struct{}), stopped: make(chan struct{}), done: make(chan struct{}),
		replies: make(map[int64]chan agent.Reply),
	}
	pr, pw := io.Pipe()
	go func() {
		_, err := stdcopy.StdCopy(pw, (*stderrKeeper)(l), stream)
		pw.CloseWithError(err)
	}()
	l.saved.more = make(chan struct{}, 1)
	go l.saved.tell(l)
	go l.read(pr)
	return l
}

func (l *Link) read(pr *io.PipeReader) {
	err := l.readLines(agent.NewLineReader(pr))
	pr.CloseWithError(io.ErrClosedPipe)
	how := ""
	if !errors.Is(err, errFatal) && !l.isClosed() { // then it has said so itself, or we have
		how = l.autopsy()
	}
	l.mu.Lock()
	l.err = l.ending(err, how)
	l.mu.Unlock()
	close(l.done)
}

func (l *Link) readLines(r *agent.LineReader) error {
	for {
		line, err := r.Next()
		if err != nil {
			return err
		}
		if err := l.handle(line); err != nil {
			return err
		}
	}
}

func (l *Link) handle(line []byte) error {
	var m agent.FromAgent
	if agent.IsRecord(line) {
		rec, err := tape.ParseRecord(line)
		if err != nil {
			return fmt.Errorf("a record from the agent is not understood: %w", err)
		}
		m.Record = &rec
	} else if err := json.Unmarshal(line, &m); err != nil {
		return fmt.Errorf("a line from the agent is not understood: %w: %.200q", err, line)
	}
	l.mu.Lock()
	l.heard = time.Now()
	l.mu.Unlock()
	switch {
	case m.Hello != nil:
		select {
		case l.hello <- *m.Hello:
		default:
			return errors.New("the agent said hello twice")
		}
	case m.Ready:
		closeOnce(l.ready)
	case m.Stopped:
		closeOnce(l.stopped)
	case m.Reply != nil:
		l.mu.Lock()
		reply := l.replies[m.ID]
		delete(l.replies, m.ID)
		l.mu.Unlock()
		if reply != nil {
			reply <- *m.Reply
		}
	case m.Fatal != nil:
		l.mu.Lock()
		l.fatal = m.Fatal
		l.mu.Unlock()
		return errFatal
	default:
		l.message(m)
		if m.Record != nil {
			l.saved.count()
		}
	}
	return nil
}

// errFatal ends the reading after a fatal line.
var errFatal = errors.New("the agent can't go on")

// closeOnce closes a channel that only the reading goroutine closes.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// ending says why the talk ended. l.mu is held.
func (l *Link) ending(err error, how string) error {
	if l.fatal != nil {
		return &event.Problem{Kind: event.Environment, Err: l.fatal.Err, Next: l.hint(l.fatal)}
	}
	said := string(bytes.TrimSpace(l.stderr))
	if said != "" {
		said = ": " + said
	}
	if how != "" {
		said = " (" + how + ")" + said
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		said = " (" + err.Error() + ")" + said
	}
	return &event.Problem{Kind: event.Environment, Err: fmt.Errorf("the agent ended unexpectedly%s", said),
		Next: "run it again with --debug; if it happens again, report it with that output"}
}

// Done is closed when the agent is gone; Err tells why.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err is why the agent is gone, once Done is closed.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Send writes a line that is not replied to.
func (l *Link) Send(m agent.ToAgent) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	l.send.Lock()
	defer l.send.Unlock()
	select {
	case <-l.done:
		return l.Err()
	default:
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("talk to the agent: %w", err)
	}
	if _, err := l.conn.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("talk to the agent: %w", err)
	}
	return nil
}

// Request sends m and returns the reply.
func (l *Link) Request(ctx context.Context, m agent.ToAgent) (agent.Reply, error) {
	reply := make(chan agent.Reply, 1)
	l.mu.Lock()
	l.nextID++
	m.ID = l.nextID
	l.replies[m.ID] = reply
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.replies, m.ID)
		l.mu.Unlock()
	}()
	if err := l.Send(m); err != nil {
		return agent.Reply{}, err
	}
	select {
	case r := <-reply:
		return replyError(r)
	case <-ctx.Done():
		return agent.Reply{}, context.Cause(ctx)
	case <-l.done:
		select {
		case r := <-reply: // its last words
			return replyError(r)
		default:
		}
		return agent.Reply{}, l.Err()
	}
}

func replyError(r agent.Reply) (agent.Reply, error) {
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// Stop tells the agent to end the recording, and waits until it has sent all
// that it holds, or was silent for the time of patience.
func (l *Link) Stop(ctx context.Context, patience time.Duration) error {
	if err := l.Send(agent.ToAgent{Stop: true}); err != nil {
		return err
	}
	begun := time.Now()
	tick := time.NewTicker(patience / 10)
	defer tick.Stop()
	for {
		select {
		case <-l.stopped:
			return nil
		case <-l.done:
			select {
			case <-l.stopped:
				return nil
			default:
				return l.Err()
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			l.mu.Lock()
			last := l.heard
			l.mu.Unlock()
			if last.Before(begun) {
				last = begun
			}
			if time.Since(last) > patience {
				return errors.New("the agent does not answer")
			}
		}
	}
}

// Close ends our side: the agent takes its hooks away and ends. When it returns,
// message is not called any more.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.conn.Close()
	<-l.done
}

func (l *Link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Hello waits for the agent's first line.
func (l *Link) Hello(ctx context.Context, timeout time.Duration) (agent.Hello, error) {
	return await(ctx, l, l.hello, timeout, "start")
}

// Start gives the agent what it needs, and waits until its hooks are attached.
func (l *Link) Start(ctx context.Context, start *agent.Start, timeout time.Duration) error {
	if err := l.Send(agent.ToAgent{Start: start}); err != nil {
		return cmp.Or(l.end(), err)
	}
	_, err := await(ctx, l, l.ready, timeout, "get ready")
	return err
}

// end is why the agent is gone; nil while it is there.
func (l *Link) end() error {
	select {
	case <-l.done:
		return l.Err()
	case <-time.After(100 * time.Millisecond): // its last words may be on the way
		return nil
	}
}

// await waits for what the agent says next.
func await[T any](ctx context.Context, l *Link, c <-chan T, timeout time.Duration, to string) (T, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var zero T
	select {
	case v := <-c:
		return v, nil
	case <-l.done:
		return zero, l.Err()
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	case <-timer.C:
		return zero, EnvironmentError("run it again with --debug; if it happens again, report it with that output",
			"the agent did not %s within %v", to, timeout)
	}
}

// stderrKeeper keeps the end of what the agent writes on standard error.
type stderrKeeper Link

func (k *stderrKeeper) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stderr = append(k.stderr, p...)
	if n := len(k.stderr) - keptStderr; n > 0 {
		k.stderr = append(k.stderr[:0], k.stderr[n:]...)
	}
	return len(p), nil
}
