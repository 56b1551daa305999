package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

// openPatience is how much longer than it was recorded a stream without a
// recorded end stays open.
const openPatience = 5 * time.Second

// A Player answers requests with recorded exchanges, on the recorded schedule.
type Player struct {
	Lines     Lines
	Scheduler *Scheduler
	// Speed divides all recorded delays: 2 is twice as fast. At 0 nothing waits,
	// but for the client where a two-way stream did; chunks and what leaves
	// together stay as recorded.
	Speed float64
	// Redact are the rules that the tape was recorded with; nil stands for the
	// default ones.
	Redact *tape.Redactor
	// Differ says how a client's message differs from the recorded one of a call of
	// that case. Nil: messages are only counted.
	Differ func(number int, recorded, now []byte) []event.Difference

	kept kept
}

// A Result says what Play did.
type Result struct {
	Status int // 0 if no final head was sent
	Chunks int
	Bytes  int64
	How    httpstream.End
	// First is how long after the request, as recorded times count, the final
	// head left, and Took when the answer was over.
	First, Took time.Duration
	Late        Lateness // not counted at speed 0
	// Left is set where the client went away, though the call was recorded to its end.
	Left bool
}

// Play answers req with x. Times count from the moment at which the request was
// complete, or, where x is two-way, at which its head was. It returns an error
// where the client went away or the recording can't be read to its end; the
// answer is then cut short.
func (p *Player) Play(ctx context.Context, x *tape.Exchange, req *httpstream.Request, w httpstream.ResponseWriter) (Result, error) {
	return p.play(ctx, x, x.Interim, req, w, nil)
}

// play is Play with other interim heads than the recorded ones, and with a
// watcher, which may be nil.
func (p *Player) play(ctx context.Context, x *tape.Exchange, interim []tape.Response, req *httpstream.Request, w httpstream.ResponseWriter, watcher Watcher) (Result, error) {
	pl := &play{player: p, ctx: ctx, x: x, req: req, w: w, watcher: watcher}
	if p.Speed > 0 {
		pl.late = &histogram{}
	}
	pl.steps = newTimeline(p.source(ctx, x), x, interim)
	defer pl.steps.close()
	defer func() {
		if pl.socket != nil {
			pl.socket.frames.Close()
		}
	}()
	err := pl.begin()
	if err == nil {
		err = pl.run()
	}
	if errors.Is(err, errClosedElsewhere) {
		err = pl.endClosed()
	}
	if err != nil && !pl.over {
		_ = pl.end(&httpstream.EndInfo{How: httpstream.Reset, Detail: err.Error()})
	}
	// A client may go away as soon as it has the end, which it got all the same, and
	// it goes when we cut its answer short.
	if ctx.Err() != nil && err != nil && !isOurs(err) || pl.result.How == "" && pl.clientGone() {
		pl.result.How = httpstream.Cancelled
		pl.result.Left = pl.goesOn()
	}
	if pl.differs != nil && (err == nil || ctx.Err() != nil) {
		err = pl.differs
	}
	pl.result.Took = time.Since(pl.origin)
	if pl.late != nil {
		pl.result.Late = pl.late.lateness()
	}
	return pl.result, err
}

// isOurs reports whether an answer ended for a reason that is not its client: the tape
// can't be read, or the client did not say what was waited for.
func isOurs(err error) bool {
	broken, silent := (*tape.FormatError)(nil), (*event.Problem)(nil)
	return errors.As(err, &broken) || errors.As(err, &silent)
}

// goesOn reports whether the answer was recorded to its end, and has more bytes
// than were written. A client that has all of them need not wait for the end.
func (p *play) goesOn() bool {
	if !p.x.HasStream() {
		return p.x.Response != nil && p.result.Status == 0
	}
	var bytes int64
	r, err := p.player.open(p.x)
	if err != nil {
		return false
	}
	defer r.Close()
	for {
		l, err := r.Next()
		if err != nil || l.End != nil {
			return err == nil && l.End.How == httpstream.EOF && (bytes > p.result.Bytes || p.result.Status == 0)
		}
		if !l.FromClient {
			bytes += int64(len(l.Data))
		}
	}
}

// play is one answer under way.
type play struct {
	player *Player
	ctx    context.Context
	x      *tape.Exchange
	req    *httpstream.Request
	w      httpstream.ResponseWriter
	steps  timeline
	step   step // the one under way
	// May be nil.
	watcher Watcher

	origin time.Time
	// A step at anchorAt is due at anchor, and all others relative to it.
	anchor   time.Time
	anchorAt time.Duration

	// Of a two-way stream: what the client sends now, and what it had sent
	// before the next step when it was recorded.
	client   *progress
	socket   *socketWriter // of a WebSocket
	recorded counter
	needed   int64
	compared int64          // messages
	closing  bool           // what is expected is a close frame
	differs  *event.Problem // the first that is another one
	// closedElsewhere is set where the client closed a WebSocket in the place of a message.
	closedElsewhere bool
	causeAt         time.Duration // the time of the last of it
	expected        []byte        // the last of it
	lastAt          time.Duration // the time of the server's step before
	waits           bool          // for needed
	waitsEnd        bool          // for the client to end its request

	pending   bool          // something is written and not flushed
	pendingAt time.Duration // its time
	flushing  int64         // body bytes in it
	deadline  time.Time     // of what is pending
	over      bool          // End was called
	result    Result
	late      *histogram // nil at speed 0
}

// begin finds the origin.
func (p *play) begin() error {
	if p.x.TwoWay {
		p.origin = p.req.Arrived
		if !tunnel(p.x) && !expectationRefused(p.x) {
			p.follow()
		}
	} else {
		p.origin = time.Now()
		if _, err := io.Copy(io.Discard, p.req.Body); err != nil {
			return err
		}
		p.origin, _ = p.req.Complete()
	}
	p.anchor = p.origin
	return nil
}

// follow begins to read what the client sends, which asks a client that waits for
// 100 (Continue) to send it. In a tunnel that can't be before
// the head was written, which is what opens it.
func (p *play) follow() {
	if p.client != nil {
		return
	}
	c, messages := newCounter(p.x)
	if m, ok := c.(*messageCounter); ok && p.socket != nil {
		m.ping, m.close = p.socket.pong, p.socket.close
	}
	p.recorded, _ = newCounter(p.x)
	p.client = follow(p.req.Body, c, messages, p.req.Arrived)
}

// run takes the steps one by one.
func (p *play) run() error {
	for !p.over {
		var err error
		if p.step, err = p.steps.next(p.ctx); err != nil {
			return errors.Join(p.flush(), err)
		}
		s := &p.step
		switch s.what {
		case clientChunk:
			p.follow()
			if p.socket != nil && s.line.Frame != nil && s.line.Frame.Op == websocket.Ping {
				p.socket.pinged(&s.line)
			}
			// What ends no unit is no cause: a ping, or half a message.
			if n := countLine(p.recorded, &s.line); n > 0 {
				p.needed += n
				p.waits, p.causeAt, p.expected = true, s.at, s.line.Data
				p.closing = s.line.Frame != nil && s.line.Frame.Op == websocket.Close
			}
			continue
		case clientEnd:
			p.follow()
			p.waitsEnd, p.causeAt = true, s.at
			continue
		}
		if p.socket != nil && s.what == serverChunk && p.socket.answersPing(&s.line) {
			p.result.Bytes += int64(len(s.line.Data))
			continue
		}
		if s.what == serverEnd && s.line.End.How != httpstream.EOF {
			err = p.cutShort(s)
		} else if err = p.due(s.at); err == nil {
			err = p.write(s)
		}
		if err != nil {
			return err
		}
		p.lastAt = s.at
	}
	return nil
}

// due waits for a step's time, after what is pending has left if that was
// another one.
func (p *play) due(at time.Duration) error {
	// A client may send on after the end, whose line is the last all the same.
	causes := (p.waits || p.waitsEnd) && p.causeAt <= at
	if p.pending && at == p.pendingAt && !causes {
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	if causes {
		if err := p.awaitClient(); err != nil {
			return err
		}
		if p.closedElsewhere {
			return errClosedElsewhere
		}
	}
	p.pendingAt = at
	if p.player.Speed <= 0 {
		return p.ctx.Err()
	}
	p.deadline = p.anchor.Add(p.scale(at - p.anchorAt))
	return p.player.Scheduler.Wait(p.ctx, p.deadline)
}

// awaitClient waits until the client is where it was when it was recorded. What
// follows is due relative to that moment.
func (p *play) awaitClient() (err error) {
	patience := messagePatience + max(0, p.causeAt-p.lastAt)
	began := time.Now()
	if p.waitsEnd {
		p.anchor, err = p.client.waitEnd(p.ctx, patience)
	} else {
		p.anchor, err = p.client.wait(p.ctx, p.needed, patience)
	}
	if errors.Is(err, errSilent) {
		err = p.silent(time.Since(began))
	}
	if err == nil {
		p.compare()
		// A client that has ended says no more, and the wait is over; one that
		// leaves out no more than its close frame said all that it had to.
		if sent := p.client.sent(); p.client.messages && !p.waitsEnd && sent < p.needed && !p.closing && p.differs == nil {
			p.differs = p.differsAt(fmt.Sprintf("the client ended the stream after %d messages; message %d (%s) has not come", sent, sent+1, excerpt(p.expected)))
		}
	}
	p.anchorAt, p.waits, p.waitsEnd = p.causeAt, false, false
	return err
}

// silent says what the client did not send.
func (p *play) silent(waited time.Duration) error {
	e := &event.Problem{
		Kind: event.Mismatch, Call: p.x.Number,
		Next: "see why the client does not send it; if that is right, record the call again",
	}
	after := fmt.Sprintf("after %v; it came %v after the step before when it was recorded",
		waited.Round(time.Millisecond), max(0, p.causeAt-p.lastAt).Round(time.Millisecond))
	switch {
	case p.waitsEnd:
		e.Err = errors.New("the client has not ended its request " + after)
	case p.client.messages:
		e.Err = fmt.Errorf("the client's message %d (%s) has not come %s", p.client.sent()+1, excerpt(p.expected), after)
	default:
		e.Err = fmt.Errorf("only %d of the client's %d bytes, up to %s, have come %s", p.client.sent(), p.needed, excerpt(p.expected), after)
	}
	return e
}

// excerpt shows recorded bytes in a message.
func excerpt(b []byte) string {
	const most = 60
	if !utf8.Valid(b) {
		return fmt.Sprintf("%d bytes", len(b))
	}
	if s := []rune(string(b)); len(s) > most {
		return fmt.Sprintf("%q…", string(s[:most]))
	}
	return strconv.Quote(string(b))
}

func (p *play) scale(d time.Duration) time.Duration {
	if p.player.Speed == 1 {
		return d
	}
	return time.Duration(float64(d) / p.player.Speed)
}

func (p *play) write(s *step) error {
	p.pending = true
	switch s.what {
	case interimHead:
		return p.w.Interim(s.head)
	case finalHead:
		p.result.Status = s.head.Status
		head, agreed := handshake(s.head, p.x, p.req.Head, p.player.Redact)
		if p.x.IsWebSocket() {
			p.socket = &socketWriter{w: p.w, frames: tape.WriterOf(p.x, agreed), closed: make(chan []byte, 1)}
		}
		err := p.w.Head(head)
		if err == nil && p.x.TwoWay {
			p.follow()
		}
		return err
	case serverChunk:
		p.result.Chunks++
		p.result.Bytes += int64(len(s.line.Data))
		p.flushing += int64(len(s.line.Data))
		if p.socket == nil {
			return p.w.Chunk(s.line.Chunk)
		}
		if err := p.socket.write(&s.line); err != nil {
			return fmt.Errorf("call %d: %w", p.x.Number, err)
		}
		return nil
	}
	return p.end(s.line.End)
}

func (p *play) flush() error {
	if !p.pending {
		return nil
	}
	err := p.w.Flush()
	p.left()
	return err
}

// left notes that what was pending has left.
func (p *play) left() {
	if !p.pending {
		return
	}
	p.pending = false
	now := time.Now()
	if p.watcher != nil {
		p.watcher.Flushed(now, p.flushing)
	}
	p.flushing = 0
	if p.late != nil {
		p.late.add(now.Sub(p.deadline))
	}
	if p.result.First == 0 && p.result.Status != 0 {
		p.result.First = now.Sub(p.origin)
	}
}

func (p *play) end(end *httpstream.EndInfo) error {
	p.over = true
	p.result.How = end.How
	if p.result.Status == 0 && end.How == httpstream.EOF {
		end = &httpstream.EndInfo{How: httpstream.Reset, Detail: "the recording has no answer"}
		p.result.How = httpstream.Reset
	}
	err := p.w.End(*end)
	p.left()
	return err
}

// cutShort ends an answer that did not end by itself. A server that reset it
// does so again, in time. One whose client went away, or that was still going
// when the recording ended, stays open: what came next is not known, and a
// client that goes away again does not ask.
func (p *play) cutShort(s *step) error {
	if err := p.due(s.at); err != nil {
		return err
	}
	if err := p.flush(); err != nil {
		return err
	}
	end := *s.line.End
	if end.How == httpstream.Cancelled || end.How == httpstream.Open {
		closed, err := p.hold(s.at)
		if closed != nil {
			return p.answerClose(closed)
		}
		if p.clientGone() {
			p.over = true
			return nil
		}
		if err != nil {
			return err
		}
		end.Detail = "the recording ends here"
	}
	if end.How != httpstream.Closed {
		end.How = httpstream.Reset
	}
	return p.end(&end)
}

// hold waits for the client to go, about as long as the recorded stream was. It
// returns the answer to the close frame of a WebSocket's client.
func (p *play) hold(recorded time.Duration) ([]byte, error) {
	patience := openPatience
	if p.player.Speed > 0 {
		patience += p.scale(recorded)
	}
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	var closed chan []byte
	if p.socket != nil {
		closed = p.socket.closed
	}
	waited := make(chan error, 1)
	go func() { waited <- p.player.Scheduler.Wait(ctx, time.Now().Add(patience)) }()
	select {
	case answer := <-closed:
		cancel()
		<-waited //nolint:errcheck // that it ended is all that counts
		return answer, nil
	case <-p.req.Finished:
		cancel()
		return nil, <-waited
	case err := <-waited:
		return nil, err
	}
}

// clientGone reports whether the client went away, or has closed its side: where
// no more of an answer comes, that is the same.
func (p *play) clientGone() bool {
	select {
	case <-p.req.Finished:
		return true
	default:
		return p.ctx.Err() != nil
	}
}
