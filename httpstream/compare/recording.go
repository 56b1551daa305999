package compare

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/secret"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// Recorded is the answer that was recorded.
type Recorded struct {
	Method  string // of the request: an answer to HEAD has no body
	Path    string // of the request's URL
	Interim []tape.Response
	Head    *httpstream.ResponseHead // nil if no answer was recorded
	HeadAt  time.Duration
	Failed  string // what went wrong before any answer
	// Next returns the lines of the stream one by one and io.EOF after the last;
	// any other error makes the comparison fail. A line's data need be valid only
	// until the next call. nil means that the answer has no stream.
	Next func() (tape.Line, error)
}

// FromExchange takes the recorded answer from its exchange; next reads its stream.
func FromExchange(x *tape.Exchange, next func() (tape.Line, error)) Recorded {
	r := Recorded{Method: x.Request.Method, Path: pathOf(x.Request.URL), Interim: x.Interim, Failed: x.Failed}
	if x.Response != nil {
		r.Head, r.HeadAt = &x.Response.Head, x.Response.At
	}
	if x.HasStream() {
		r.Next = next
	}
	return r
}

func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Path
}

// A recording pulls the recorded stream, line by line, through its codec.
type recording struct {
	next   func() (tape.Line, error)
	codec  *body.Decoder
	sink   func(at time.Duration, p []byte)
	timing *Timing
	scale  func(time.Duration) time.Duration
	chunks bool           // the timing counts chunks
	veil   *secret.Stream // hides the secrets in what the sink gets; nil leaves them
	// decoded hears of bytes that the sink gets. May be nil.
	decoded func(at time.Duration, n int)

	done bool
	end  *httpstream.EndInfo
	err  error
}

// pull passes one more line to the sink. It is false once there is none.
func (r *recording) pull() bool {
	if r.done {
		return false
	}
	if r.next == nil {
		r.end = &httpstream.EndInfo{How: httpstream.EOF}
		r.finish(r.timing.Head)
		return false
	}
	line, err := r.next()
	switch {
	case errors.Is(err, io.EOF):
		r.fail(errors.New("the stream file has no end line: it is truncated"))
		return false
	case err != nil:
		r.fail(err)
		return false
	case line.FromClient:
		return true
	}
	at := r.scale(line.At)
	if len(line.Data) > 0 {
		r.timing.Bytes += int64(len(line.Data))
		if r.chunks {
			r.timing.arrive(at)
		}
		if !r.decode(at, line.Data) {
			return false
		}
	}
	if line.End != nil {
		end := *line.End
		r.end = &end
		r.finish(at)
		return false
	}
	return true
}

func (r *recording) decode(at time.Duration, p []byte) bool {
	if r.codec == nil {
		r.pass(at, p)
		return true
	}
	if err := r.codec.Write(p, func(b []byte) { r.pass(at, b) }); err != nil {
		r.fail(fmt.Errorf("the recorded body: %w", err))
		return false
	}
	return true
}

func (r *recording) pass(at time.Duration, p []byte) {
	if r.decoded != nil {
		r.decoded(at, len(p))
	}
	if r.veil != nil {
		p = r.veil.Write(p)
	}
	if len(p) > 0 {
		r.sink(at, p)
	}
}

func (r *recording) finish(at time.Duration) {
	r.timing.End = at
	if r.codec != nil {
		err := r.codec.Close(func(b []byte) { r.pass(at, b) })
		r.codec = nil
		if err != nil && r.end.How == httpstream.EOF {
			r.fail(fmt.Errorf("the recorded body: %w", err))
		}
	}
	if r.veil != nil {
		if p := r.veil.Close(); len(p) > 0 {
			r.sink(at, p)
		}
		r.veil.Rest()
		r.veil = nil
	}
	r.done = true
}

func (r *recording) fail(err error) {
	r.err = err
	r.done = true
	r.close()
}

func (r *recording) close() {
	if r.codec != nil {
		r.codec.Stop()
		r.codec = nil
	}
}

// interrupted tells whether the recording ends where the answer may not have;
// one that can't be read any further does so too. It is known only when the
// recording was read to its end.
func (r *recording) interrupted() bool {
	return r.err != nil || r.end != nil && (r.end.How == httpstream.Cancelled || r.end.How == httpstream.Open)
}
