package compare

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/internal/legible"
	"github.com/wiretape/wiretape/httpstream/llm"
	"github.com/wiretape/wiretape/httpstream/noise"
	"github.com/wiretape/wiretape/httpstream/secret"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// Options configure a comparison. The zero value is a strict one with the
// default limits switched off; see DefaultLimits.
type Options struct {
	Rules  noise.Rules // those of this case: Rules.For
	Limits Limits
	// Formats are those of language models; nil for those that are built in.
	Formats *llm.Table
	// Redact is by what the recorded answer was redacted; nil for the default
	// rules. What is reported of an answer's head and end is redacted as well.
	Redact *tape.Redactor
	// MaxDifferences is how many differences are reported, the rest is counted;
	// 0 means 100.
	MaxDifferences int
	// MaxJSON is how long a JSON body may be to be compared by value, MaxUnit how
	// much of an event, a line or a part is kept; a longer one is told apart by
	// its hash. 0 means 8 MiB and 1 MiB.
	MaxJSON, MaxUnit int
	// OnDifference is called for each reported difference as soon as it is known.
	OnDifference func(Difference)
	// Calls gives the timing of the case's calls, recorded and now, both from the
	// end of the case's request. It is called once, from End. May be nil.
	Calls func() (recorded, now []CallTiming)
}

// A Comparer compares one answer while it streams. Its methods are those of a
// response's life, called from one goroutine in order; End or Failed must be
// called last, and once. All times count from the end of the request.
type Comparer struct {
	opt       Options
	rec       Recorded
	log       log
	recTiming Timing
	nowTiming Timing
	held      stretches
	offsets   *offsetPairer // nil where units are counted
	unitName  string
	source    *recording

	interims  []httpstream.ResponseHead
	head      *httpstream.ResponseHead
	body      bodyComparer
	codec     *body.Decoder
	broken    bool // the present body can't be decoded any further
	forbidden bool // the answer must not have a body
	veil      *secret.Stream
	answer    *AnswerDifference
	table     *llm.Table // see formats
}

// A bodyComparer compares what comes with what was recorded.
type bodyComparer interface {
	chunk(at time.Duration, p []byte)
	// enough tells whether all that the recording holds has come.
	enough() bool
	finish(at time.Duration)
}

// New begins a comparison.
func New(rec Recorded, opt Options) *Comparer {
	if opt.MaxDifferences == 0 {
		opt.MaxDifferences = 100
	}
	if opt.MaxJSON == 0 {
		opt.MaxJSON = 8 << 20
	}
	if opt.MaxUnit == 0 {
		opt.MaxUnit = 1 << 20
	}
	c := &Comparer{opt: opt, rec: rec, unitName: "chunk"}
	c.log = log{max: opt.MaxDifferences, report: opt.OnDifference}
	c.recTiming.Head = opt.Limits.scaled(rec.HeadAt)
	c.source = &recording{next: rec.Next, timing: &c.recTiming, scale: opt.Limits.scaled, sink: func(time.Duration, []byte) {}}
	return c
}

// Interim takes a 1xx answer other than 101.
func (c *Comparer) Interim(at time.Duration, head *httpstream.ResponseHead) {
	c.log.at = at
	if head.Status != http.StatusContinue {
		c.interims = append(c.interims, *head)
	}
}

// Head takes the answer's head. It keeps no reference to it.
func (c *Comparer) Head(at time.Duration, head *httpstream.ResponseHead) {
	c.log.at = at
	c.nowTiming.Head = at
	h := *head
	c.head = &h
	if c.rec.Head == nil {
		return
	}
	c.compareInterim(c.rec.Interim, c.interims)
	c.compareHead(c.rec.Head, head)
	c.forbidden = bodiless(c.rec.Method, head.Status)
	c.openBody()
}

// bodiless tells whether an answer has no body, whatever its fields say (RFC 9110
// section 6.4.1).
func bodiless(method string, status int) bool {
	return strings.EqualFold(method, http.MethodHead) || status == http.StatusNoContent ||
		status == http.StatusNotModified || status < 200
}

// openBody chooses how bodies are compared, by the two content types.
func (c *Comparer) openBody() {
	recType, nowType := c.rec.Head.Header.Get("Content-Type"), c.head.Header.Get("Content-Type")
	recCodec, ok := codecOf(c.rec.Method, c.rec.Head)
	nowCodec, ok2 := codecOf(c.rec.Method, c.head)
	c.source.codec, c.codec = recCodec, nowCodec
	f, note := body.Of(recType), ""
	units := newUnitBody(c, c.source, &f)
	byUnits := false
	if ok && ok2 {
		c.veilBodies(recType, nowType)
	}
	switch {
	case !ok || !ok2:
		f, note = body.Format{}, " (encoded, so compared as it is)"
	case body.Of(nowType).Name != f.Name:
		f, note = body.Format{}, " (of another content type)"
	case f.New != nil:
		if byUnits = units.parse(&f, recType, nowType); !byUnits {
			note = " (" + f.Name + " without a boundary)"
			f = body.Format{}
		}
	}
	if byUnits && f.Timed {
		c.unitName = f.Unit
	} else {
		c.source.chunks = true
		c.offsets = &offsetPairer{to: &c.held}
		c.source.decoded = c.offsets.recorded
	}
	switch {
	case byUnits:
		c.body = units
	case f.Whole == body.JSON:
		c.body = newJSONBody(c, c.source)
	default:
		c.body = newBytesBody(c, c.source, nil, note)
	}
}

// count takes the time of a unit, if those are what is counted.
func (c *Comparer) count(t *Timing, u *unit) {
	if u.Label == c.unitName {
		t.arrive(u.At)
	}
}

// Chunk takes bytes of the body that arrived together. It keeps no reference to p.
func (c *Comparer) Chunk(at time.Duration, p []byte) {
	if len(p) == 0 {
		return
	}
	c.log.at = at
	if c.nowTiming.Bytes == 0 && c.forbidden {
		c.log.add(func() Difference {
			return Difference{
				Kind: Content, Where: InBody, Now: legible.Bytes(p, int64(len(p))),
			}.titled(fmt.Sprintf("a body where none is allowed: %s answered with %s", c.rec.Method, status(c.head.Status)), "")
		})
	}
	c.nowTiming.Bytes += int64(len(p))
	if c.unitName == "chunk" {
		c.nowTiming.arrive(at)
	}
	if c.body == nil || c.broken {
		return
	}
	if c.codec == nil {
		c.decoded(at, p)
		return
	}
	if err := c.codec.Write(p, func(b []byte) { c.decoded(at, b) }); err != nil {
		c.undecodable(err)
	}
}

func (c *Comparer) decoded(at time.Duration, p []byte) {
	n := len(p)
	if c.veil != nil {
		p = c.veil.Write(p)
	}
	if len(p) > 0 {
		c.body.chunk(at, p)
	}
	if c.offsets != nil {
		c.offsets.arrived(at, n)
	}
}

// veilBodies hides the secrets of both bodies. On the tape there are stand-ins, and the
// app may have another key in a test than when it was recorded.
func (c *Comparer) veilBodies(recType, nowType string) {
	finder, _ := c.opt.Redact.Bodies()
	if finder == nil {
		return
	}
	if text, ok := secret.TextOf(recType, ""); ok {
		c.source.veil = finder.Stream(text, nil, nil)
	}
	if text, ok := secret.TextOf(nowType, ""); ok {
		c.veil = finder.Stream(text, nil, nil)
	}
}

// pair takes the times of two units that go together.
func (c *Comparer) pair(r, n *unit) {
	if r.Label == c.unitName {
		c.held.pair(r.Index, r.At, n.At)
	}
}

func (c *Comparer) undecodable(err error) {
	c.broken = true
	c.log.add(func() Difference {
		return Difference{Kind: Content, Where: "Content-Encoding", Message: fmt.Sprintf("body: %s", err)}
	})
}

// Enough tells whether the recording stops before the answer did, because the
// client went away, and all that was recorded has come: the runner then goes
// away as well. It is false for a recording that is complete.
func (c *Comparer) Enough() bool {
	return c.body != nil && c.body.enough() && c.source.interrupted()
}

// Failed ends the comparison where no answer could be had: refused, timed out.
func (c *Comparer) Failed(at time.Duration, why string) *Verdict {
	return c.End(at, httpstream.EndInfo{How: httpstream.Reset, Detail: why})
}

// End ends the comparison. What was recorded and has not come is missing now.
func (c *Comparer) End(at time.Duration, end httpstream.EndInfo) *Verdict {
	c.log.at = at
	c.nowTiming.End = at
	end.Detail = c.opt.Redact.Text(end.Detail)
	switch {
	case c.rec.Head == nil:
		c.nothingRecorded(end)
	case c.head == nil:
		c.noAnswer(end)
	default:
		c.endBody(at, end)
	}
	c.source.close()
	if c.codec != nil {
		c.codec.Stop()
	}
	return c.verdict()
}

// nothingRecorded never passes an answer that there is nothing to compare with.
func (c *Comparer) nothingRecorded(end httpstream.EndInfo) {
	switch {
	case c.rec.Failed != "" && c.head == nil:
		c.compareFailure(end)
		return
	case c.rec.Failed != "":
		c.log.must(Difference{
			Kind: Ended, Recorded: c.rec.Failed, Now: status(c.head.Status),
		}.wasNow("answer", c.rec.Failed, status(c.head.Status)))
		return
	}
	now := end.Detail
	if c.head != nil {
		now = status(c.head.Status)
	}
	c.log.must(Difference{Kind: Recording, Now: c.redacted(now)}.titled(
		"the recording holds no answer, so there is nothing to compare with; record the case again", ""))
}

// compareFailure compares two ends without any answer: how, and what was wrong.
func (c *Comparer) compareFailure(end httpstream.EndInfo) {
	if c.rec.Next != nil {
		for c.source.pull() {
		}
	}
	how := c.source.end == nil || c.source.err != nil || sameEnd(*c.source.end, end)
	why := end.Detail
	if why == "" {
		why = string(end.How)
	}
	if how && (end.Detail == "" || sameCause(c.rec.Failed, end.Detail)) {
		return
	}
	rec, now := c.redacted(c.rec.Failed), c.redacted(why)
	if rec == now && c.source.end != nil {
		rec, now = c.redacted(describeEnd(*c.source.end)), c.redacted(describeEnd(end))
	}
	c.log.must(Difference{
		Kind: Ended, Where: AtEnd, Recorded: rec, Now: now,
	}.wasNow("no answer, as recorded, but for another reason", rec, now))
}

// redacted is a text of the relay's without the secrets of URLs in it.
func (c *Comparer) redacted(s string) string { return c.opt.Redact.Text(s) }

// sameCause compares what was wrong, addresses aside: containers get new ones.
func sameCause(rec, now string) bool {
	address := regexp.MustCompile(`(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\])(:\d+)?`)
	return address.ReplaceAllString(rec, "") == address.ReplaceAllString(now, "")
}

// sameEnd compares how two answers ended. What makes an answer no HTTP is known by
// its detail alone.
func sameEnd(rec, now httpstream.EndInfo) bool {
	if rec.How != now.How || rec.Code != now.Code && rec.Code != 0 && now.Code != 0 {
		return false
	}
	return rec.How != httpstream.Malformed || sameCause(rec.Detail, now.Detail)
}

func (c *Comparer) noAnswer(end httpstream.EndInfo) {
	why := end.Detail
	if why == "" {
		why = string(end.How)
	}
	c.log.must(Difference{
		Kind: Ended, Recorded: status(c.rec.Head.Status), Now: c.redacted(why),
	}.titled("no answer: "+c.redacted(why), "; recorded "+status(c.rec.Head.Status)))
	for c.source.pull() { // for its timing
	}
}

func (c *Comparer) endBody(at time.Duration, end httpstream.EndInfo) {
	if c.codec != nil && !c.broken {
		if err := c.codec.Close(func(b []byte) { c.decoded(at, b) }); err != nil && end.How == httpstream.EOF {
			c.undecodable(err)
		}
		c.codec = nil
	}
	if c.veil != nil {
		if p := c.veil.Close(); len(p) > 0 {
			c.body.chunk(at, p)
		}
		c.veil.Rest()
	}
	c.body.finish(at)
	for c.source.pull() {
	}
	if u, ok := c.body.(*unitBody); ok && c.log.count() > 0 {
		c.answer = u.answers.difference()
	}
	if c.source.err != nil {
		c.log.must(Difference{
			Kind: Recording, Recorded: c.source.err.Error(),
			Message: fmt.Sprintf("the recording can't be read: %v; record the case again", c.source.err),
		})
		return
	}
	c.compareEnd(*c.source.end, end)
}

func (c *Comparer) compareEnd(rec, now httpstream.EndInfo) {
	if c.source.interrupted() {
		// What the app would have done next is not known. It may have ended, or
		// the runner went away as the client did.
		if now.How == httpstream.EOF || now.How == httpstream.Cancelled {
			return
		}
	} else if sameEnd(rec, now) {
		if rec.How == httpstream.EOF {
			c.compareSection(Trailer, rec.Trailer, now.Trailer, false)
		}
		return
	}
	c.log.must(Difference{
		Kind: Ended, Where: AtEnd, Recorded: c.redacted(describeEnd(rec)), Now: c.redacted(describeEnd(now)),
	}.wasNow("end of the stream", c.redacted(describeEnd(rec)), c.redacted(describeEnd(now))))
}

func describeEnd(e httpstream.EndInfo) string {
	s := string(e.How)
	if e.Code != 0 {
		s += fmt.Sprintf(" (HTTP/2 error code %d)", e.Code)
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

func (c *Comparer) verdict() *Verdict {
	v := &Verdict{Unit: c.unitName, Interrupted: c.source.err == nil && c.source.interrupted(), Answer: c.answer}
	var recCalls, nowCalls []CallTiming
	if c.opt.Calls != nil {
		recCalls, nowCalls = c.opt.Calls()
		scaled := make([]CallTiming, len(recCalls))
		for i, call := range recCalls {
			scaled[i] = call.scaled(c.opt.Limits)
		}
		recCalls = scaled
	}
	if c.head != nil && c.rec.Head != nil {
		if c.recTiming.Count > 0 && c.nowTiming.Count > 0 {
			v.Delay = attributeFirst(&c.recTiming, &c.nowTiming, recCalls, nowCalls)
		}
		s := shapes{&c.recTiming, &c.nowTiming, c.unitName, c.held.longest, recCalls, nowCalls, c.opt.Limits, c.log.must}
		s.check(!c.source.interrupted() && c.source.err == nil)
	}
	c.log.finish()
	v.Recorded, v.Now = c.recTiming, c.nowTiming
	v.Differences, v.More = c.log.list, c.log.more
	v.Pass = c.log.count() == 0
	return v
}
