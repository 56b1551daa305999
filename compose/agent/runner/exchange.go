package runner

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/protocol"
	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/httpstream/relay"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// An exchange is one case under way. It is the sink of the relay that the case
// is sent through.
type exchange struct {
	opt   *Options
	x     *tape.Exchange
	c     *report.CaseResult
	limit time.Duration

	comparer *compare.Comparer
	retake   *Retake             // nil unless it is recorded anew
	again    httpstream.Exchange // its side; nil until the request was heard
	now      report.Timeline
	maxBytes int64
	hangUp   context.CancelFunc
	// proceed is closed when the app asks for the body (100), answers, or is gone.
	proceed     chan struct{}
	proceedOnce sync.Once

	mu       sync.Mutex
	started  time.Time // the request's head
	origin   time.Time // from when the answer's times count
	answered bool
	enough   bool   // all that was recorded has come, and we went away as the client did
	cut      string // why we went away before the end
	over     bool   // events count no more
	end      *httpstream.EndInfo
	endAt    time.Duration
	ended    chan struct{}
}

// run sends the request over conn and fills in the result.
func (e *exchange) run(ctx context.Context, conn net.Conn) {
	stream, err := e.opt.Tape.Stream(e.x)
	if err != nil {
		conn.Close()
		e.opt.unreadable(e.c, err)
		return
	}
	defer stream.Close()
	e.comparer = compare.New(compare.FromExchange(e.x, stream.Next), compare.Options{
		Redact: e.opt.Redact, Rules: e.opt.Rules.For(e.c.Name), Formats: e.opt.Formats, Limits: e.opt.Limits, MaxDifferences: e.opt.MaxDifferences,
		Calls: func() (recorded, now []compare.CallTiming) { return e.c.CallTimings() },
	})
	e.maxBytes = sizeFactor*e.c.Answer.Recorded.Bytes + sizeFloor
	e.ended, e.proceed = make(chan struct{}), make(chan struct{})
	if e.opt.Record != nil {
		e.retake = e.opt.Record(e.x)
	}
	ctx, e.hangUp = context.WithCancel(ctx)
	defer e.hangUp()
	e.relay(ctx, conn)
	e.conclude(ctx)
}

// relay sends the request and returns when the answer ended, at the latest when
// the time is up.
func (e *exchange) relay(ctx context.Context, conn net.Conn) {
	var opt relay.Options
	if !e.opt.KeepEncoding {
		opt.RewriteRequest = proxy.AskForIdentity
	}
	client, inner := net.Pipe()
	spoken := protocol.Of(e.x.Request.Proto)
	if spoken == nil {
		conn.Close()
		e.stop("no request can be sent in the tape's protocol " + e.x.Request.Proto)
		return
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		_ = spoken.Relay(ctx, inner, conn, opt, e)
	})
	wg.Go(func() {
		if err := spoken.Send(client, e.outgoing()); err != nil {
			e.stop("the request could not be sent: " + err.Error())
		}
	})
	timer := time.NewTimer(e.limit)
	defer timer.Stop()
	select {
	case <-e.ended:
	case <-done:
	case <-timer.C:
		e.stop(fmt.Sprintf("still not at its end after %s, which is the case's time limit", e.limit.Round(time.Millisecond)))
	}
	e.hangUp()
	client.Close()
	wg.Wait()
}

// stop goes away before the answer ended. What was said first counts.
func (e *exchange) stop(why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || e.end != nil {
		return
	}
	e.over, e.cut = true, why
	e.hangUp()
}

// conclude waits for the calls to end and makes the verdict.
func (e *exchange) conclude(ctx context.Context) {
	e.mu.Lock()
	end, at := httpstream.EndInfo{How: httpstream.Reset, Detail: "the connection ended without an answer"}, e.endAt
	switch {
	case e.enough:
		end = httpstream.EndInfo{How: httpstream.Cancelled}
	case e.cut != "":
		end.Detail = e.cut
	case e.end != nil:
		end = *e.end
	}
	if e.origin.IsZero() {
		e.origin = e.started
	}
	if e.origin.IsZero() { // nothing was sent
		e.origin = time.Now()
	}
	if e.end == nil {
		at = time.Since(e.origin)
	}
	origin := e.origin
	e.mu.Unlock()

	e.now.Finish(at, string(end.How))
	if e.answered {
		e.c.Answer.Now = &e.now
	} else {
		e.c.Answer.Now = &report.Timeline{End: at, Failed: e.opt.Redact.Text(end.Detail)}
	}
	e.opt.Calls.awaitCalls(context.WithoutCancel(ctx), e.c, e.opt.Limits.Speed)
	e.opt.Calls.collect(e.c, origin)
	if e.enough || e.cut != "" { // we went away, and so may the app
		e.c.Left = nil
	}
	e.c.Verdict = e.comparer.End(at, end)
	e.credentials()
	e.rerecord()
}

// credentials explains a refusal that may come from a credential that is not on the tape.
func (e *exchange) credentials() {
	if e.c.Verdict.Pass || !e.refused() {
		return
	}
	for _, f := range e.x.Request.Header {
		if strings.Contains(f.Value, tape.Redacted) && e.replacement(f.Name) == "" {
			e.c.NextSteps = append(e.c.NextSteps, report.Step{
				Do:   "the request was sent with a redacted " + f.Name + "; if the app needs the real one, add it in wiretape.yaml, from the environment",
				Code: "test:\n  headers:\n    " + f.Name + ": ${" + envName(f.Name) + "}",
			})
		}
	}
}

// refused tells whether the answer is one to a refused credential, and was recorded as
// another one.
func (e *exchange) refused() bool {
	return slices.ContainsFunc(e.c.Verdict.Differences, func(d compare.Difference) bool {
		return d.Kind == compare.Status && (strings.HasPrefix(d.Now, "401") || strings.HasPrefix(d.Now, "403"))
	})
}

func envName(field string) string {
	return strings.ToUpper(strings.ReplaceAll(field, "-", "_"))
}

// Request implements httpstream.Sink.
func (e *exchange) Request(at time.Time, head *httpstream.RequestHead) httpstream.Exchange {
	if e.retake != nil {
		e.again = e.retake.Sink.Request(at, head)
	}
	if e.opt.Sent != nil {
		e.opt.Sent(e.x.Number, at)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started = at
	return e
}

// RequestChunk implements httpstream.Exchange.
func (e *exchange) RequestChunk(at time.Time, c httpstream.Chunk) { e.recorded().RequestChunk(at, c) }

// RequestEnd implements httpstream.Exchange.
func (e *exchange) RequestEnd(at time.Time, trailer httpstream.Fields) {
	e.recorded().RequestEnd(at, trailer)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.origin.IsZero() {
		e.origin = at
	}
}

// since is the time of something in the answer; ok is false where it counts no more.
func (e *exchange) since(at time.Time) (d time.Duration, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.origin.IsZero() && e.answered { // answered before the request ended
		e.origin = e.started
	}
	if e.origin.IsZero() {
		return 0, !e.over
	}
	return max(0, at.Sub(e.origin)), !e.over
}

// Interim implements httpstream.Exchange.
func (e *exchange) Interim(at time.Time, head *httpstream.ResponseHead) {
	e.recorded().Interim(at, head)
	e.goOn()
	if d, ok := e.since(at); ok {
		e.comparer.Interim(d, head)
	}
}

// Response implements httpstream.Exchange.
func (e *exchange) Response(at time.Time, head *httpstream.ResponseHead) {
	e.recorded().Response(at, head)
	e.goOn()
	e.mu.Lock()
	e.answered = true
	e.mu.Unlock()
	if d, ok := e.since(at); ok {
		e.comparer.Head(d, head)
		e.checkEnough()
	}
}

// ResponseChunk implements httpstream.Exchange.
func (e *exchange) ResponseChunk(at time.Time, c httpstream.Chunk) {
	e.recorded().ResponseChunk(at, c)
	d, ok := e.since(at)
	if !ok || len(c.Data) == 0 {
		return
	}
	e.comparer.Chunk(d, c.Data)
	e.now.Add(d, len(c.Data))
	if e.now.Bytes > e.maxBytes {
		e.stop(fmt.Sprintf("the answer did not end: %d MiB came, and %d bytes were recorded", e.now.Bytes>>20, e.c.Answer.Recorded.Bytes))
		return
	}
	e.checkEnough()
}

func (e *exchange) goOn() { e.proceedOnce.Do(func() { close(e.proceed) }) }

// checkEnough goes away where the recorded client did.
func (e *exchange) checkEnough() {
	if !e.comparer.Enough() {
		return
	}
	e.mu.Lock()
	e.enough, e.over = true, true
	e.mu.Unlock()
	e.hangUp()
}

// End implements httpstream.Exchange.
func (e *exchange) End(at time.Time, end httpstream.EndInfo) {
	d, _ := e.since(at)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.end != nil {
		return
	}
	if e.enough { // it was us who ended it
		end = httpstream.EndInfo{How: httpstream.Cancelled, Detail: "the client closed the connection"}
	}
	e.recorded().End(at, end)
	e.end, e.endAt = &end, d
	e.over = true
	e.goOn()
	close(e.ended)
}
