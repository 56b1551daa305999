package proxy

import (
	"context"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/protocol"
	"github.com/wiretape/wiretape/httpstream/replay"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// PlaybackOptions say how a tape is played.
type PlaybackOptions struct {
	// Speed is as in replay.Player: 1 as recorded, 0 as fast as it goes.
	Speed float64
	// Reuse answers identical calls from the first again once all were given out.
	Reuse  bool
	Redact *tape.Redactor
	// Case is the number of the case that a call with this head belongs to; the head is
	// nil where a connection is refused. May be nil.
	Case func(*httpstream.RequestHead) int
	// Rules say what does not count in a request; Reuse and Redact are set above.
	Rules match.Rules
	// OnEvent is told of each request once it is answered.
	OnEvent func(replay.Event)
	// Watch is as in replay.Handler; it hears of refused connections too.
	Watch func(replay.Event) replay.Watcher
}

// A Playback answers a Proxy's connections from a tape.
type Playback struct {
	handler   *replay.Handler
	scheduler *replay.Scheduler
	opt       PlaybackOptions
	origins   []origin
	opaque    []tape.Opaque
}

// An origin is a host of the tape, with the protocols that it spoke in any call.
type origin struct {
	scheme, authority string // authority with its port
	host              string // as it stands in URLs
	protocols         []string
	connects          bool // other protocols were asked for with CONNECT, in HTTP/2
}

// NewPlayback prepares a tape to be played. Close frees it.
func NewPlayback(t *tape.Tape, opt PlaybackOptions) (*Playback, error) {
	scheduler, err := replay.NewScheduler()
	if err != nil {
		return nil, err
	}
	t.FollowLengths()
	rules := opt.Rules
	rules.Reuse = opt.Reuse
	if opt.Redact != nil {
		rules.Redact = opt.Redact
	}
	index := match.NewIndex(t.Calls, rules)
	return &Playback{
		handler: &replay.Handler{
			Index:   index,
			Player:  &replay.Player{Lines: replay.FromTape(t), Scheduler: scheduler, Speed: opt.Speed, Redact: rules.Redact, Differ: index.Message},
			OnEvent: opt.OnEvent,
			Watch:   opt.Watch,
		},
		scheduler: scheduler,
		opt:       opt,
		origins:   originsOf(t.Calls),
		opaque:    t.Manifest.Opaque,
	}, nil
}

// originsOf lists the hosts of a tape in order of their first call.
func originsOf(calls []*tape.Exchange) []origin {
	var list []origin
	index := map[string]int{}
	for _, x := range calls {
		scheme, host, ok := originOf(x.Request.URL)
		if !ok || x.Request.Method == "" {
			continue
		}
		i, known := index[scheme+"://"+host]
		if !known {
			i = len(list)
			index[scheme+"://"+host] = i
			list = append(list, origin{scheme: scheme, host: host, authority: fullAuthority(scheme, host)})
		}
		list[i].connects = list[i].connects || x.Request.Protocol != ""
		if spoken := protocol.Of(x.Request.Proto); spoken != nil && !slices.Contains(list[i].protocols, spoken.ALPN) {
			list[i].protocols = append(list[i].protocols, spoken.ALPN)
		}
	}
	return list
}

// originOf splits scheme and host off a URL, which need not be well-formed behind
// them: the tape has targets as they were sent.
func originOf(url string) (scheme, host string, ok bool) {
	scheme, authority, _, found := httpstream.SplitURL(url)
	if !found || scheme != "http" && scheme != "https" {
		return "", "", false
	}
	host = authority[strings.LastIndexByte(authority, '@')+1:]
	return scheme, host, host != ""
}

// fullAuthority adds the scheme's own port where host has none.
func fullAuthority(scheme, host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return strings.ToLower(host)
	}
	port := "80"
	if scheme == "https" {
		port = "443"
	}
	return strings.ToLower(net.JoinHostPort(strings.Trim(host, "[]"), port))
}

// Configure sets what a Proxy needs to answer from the tape.
func (pb *Playback) Configure(cfg *Config) {
	cfg.Replay = pb.stream
	cfg.Protocols = func(authority string) []string {
		for _, o := range pb.origins {
			if o.scheme == "https" && o.authority == strings.ToLower(authority) {
				return o.protocols
			}
		}
		return nil
	}
	cfg.Unreachable = pb.refused
	cfg.Opaque = pb.wasOpaque
}

// wasOpaque tells why a destination was not understood when it was recorded. One
// that spoke HTTP as well, on other connections, must be heard first.
func (pb *Playback) wasOpaque(service, authority string) (why string, ok bool) {
	if slices.ContainsFunc(pb.origins, func(o origin) bool { return o.authority == strings.ToLower(authority) }) {
		return "", false
	}
	for _, o := range pb.opaque {
		if !o.HTTP && strings.EqualFold(o.Address, authority) && (o.Service == service || o.Service == "" || service == "") {
			return o.Reason, true
		}
	}
	return "", false
}

// refused tells whether a connection is to fail as a recorded one did.
func (pb *Playback) refused(service, authority string) bool {
	now := time.Now()
	number := pb.caseOf(nil)
	x := pb.handler.Index.Refused(authority, match.Scope{Service: service, Case: number})
	if x == nil {
		return false
	}
	if pb.opt.Watch != nil {
		e := replay.Event{
			Service: service, Case: number, URL: x.Request.URL, Exchange: x, Started: now, Complete: now,
			Result: replay.Result{How: httpstream.Reset},
		}
		if w := pb.opt.Watch(e); w != nil {
			w.Ended(e)
		}
	}
	return true
}

// Release makes the calls of a case free again: it is about to run once more.
func (pb *Playback) Release(number int) { pb.handler.Index.Release(number) }

// ReleaseAll makes all calls free again.
func (pb *Playback) ReleaseAll() { pb.handler.Index.ReleaseAll() }

// Collisions are as in match.Index.
func (pb *Playback) Collisions() [][]int { return pb.handler.Index.Collisions() }

// caseOf is the case of a call with this head, which may be nil.
func (pb *Playback) caseOf(head *httpstream.RequestHead) int {
	if pb.opt.Case == nil {
		return 0
	}
	return pb.opt.Case(head)
}

func (pb *Playback) stream(s Stream) httpstream.Handler {
	h := pb.handler.Conn(replay.Conn{Service: s.Service, Scheme: s.Scheme, Authority: s.Authority, Case: pb.opt.Case, Forward: s.Forward})
	connects := slices.ContainsFunc(pb.origins, func(o origin) bool {
		return o.connects && (s.Reverse || strings.EqualFold(o.authority, s.Authority))
	})
	if s.Reverse {
		h = reverseHandler{pb, h}
	}
	return offering{h, connects}
}

// offering is a handler that offers CONNECT if the recorded host took it: clients
// that are offered it where they were not would open their WebSockets with it.
type offering struct {
	httpstream.Handler
	connects bool
}

// OffersConnect implements http2.ConnectOfferer.
func (o offering) OffersConnect() bool { return o.connects }

// Unused lists the calls that were never asked for, in recorded order.
func (pb *Playback) Unused() []*tape.Exchange { return pb.handler.Index.Unused() }

// Close frees the playback's thread; connections must have ended.
func (pb *Playback) Close() error { return pb.scheduler.Close() }

// A reverseHandler serves clients that address the proxy in the place of a
// recorded host, whose name their requests then lack.
type reverseHandler struct {
	*Playback
	forward httpstream.Handler
}

// ServeStream implements httpstream.Handler.
func (h reverseHandler) ServeStream(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
	if isAbsolute(req.Head.Target) || len(h.origins) == 0 {
		h.forward.ServeStream(ctx, req, w)
		return
	}
	meant := h.origins // which of them is known once the whole request is
	if o, named := h.namedOrigin(req.Head); named {
		meant = []origin{o}
	}
	conn := replay.Conn{Scheme: meant[0].scheme, Authority: meant[0].authority, Case: h.opt.Case}
	for _, o := range meant[1:] {
		conn.OtherOrigins = append(conn.OtherOrigins, httpstream.OriginURL(o.scheme, o.host))
	}
	head := *req.Head
	head.Authority, head.Scheme = meant[0].host, meant[0].scheme
	r := *req
	r.Head = &head
	h.handler.Conn(conn).ServeStream(ctx, &r, w)
}

// namedOrigin is the host that the request names; false if it names none of the tape's.
func (pb *Playback) namedOrigin(head *httpstream.RequestHead) (origin, bool) {
	i := slices.IndexFunc(pb.origins, func(o origin) bool {
		return strings.EqualFold(o.host, head.Authority) || strings.EqualFold(o.authority, head.Authority)
	})
	if i < 0 {
		return origin{}, false
	}
	return pb.origins[i], true
}
