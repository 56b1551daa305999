package proxy

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/match"
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
	Case   func() int // the number of the running case; may be nil
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

// An origin is a host of the tape, with the protocols that it spoke.
type origin struct {
	scheme, authority string // authority with its port
	host              string // as it stands in URLs
	protocols         []string
}

// NewPlayback prepares a tape to be played. Close frees it.
func NewPlayback(t *tape.Tape, opt PlaybackOptions) (*Playback, error) {
	scheduler, err := replay.NewScheduler()
	if err != nil {
		return nil, err
	}
	rules := opt.Rules
	rules.Reuse = opt.Reuse
	if opt.Redact != nil {
		rules.Redact = opt.Redact
	}
	return &Playback{
		handler: &replay.Handler{
			Index:   match.NewIndex(t.Calls, rules),
			Player:  &replay.Player{Lines: replay.FromTape(t), Scheduler: scheduler, Speed: opt.Speed},
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
	for _, x := range calls {
		u, err := url.Parse(x.Request.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || x.Request.Method == "" {
			continue
		}
		i := slices.IndexFunc(list, func(o origin) bool { return o.scheme == u.Scheme && o.host == u.Host })
		if i < 0 {
			i = len(list)
			list = append(list, origin{scheme: u.Scheme, host: u.Host, authority: fullAuthority(u.Scheme, u.Host)})
		}
		alpn := "http/1.1"
		if x.Request.Proto == "HTTP/2.0" {
			alpn = "h2"
		}
		if !slices.Contains(list[i].protocols, alpn) {
			list[i].protocols = append(list[i].protocols, alpn)
		}
	}
	return list
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
		if strings.EqualFold(o.Address, authority) && (o.Service == service || o.Service == "" || service == "") {
			return o.Reason, true
		}
	}
	return "", false
}

// refused tells whether a connection is to fail as a recorded one did.
func (pb *Playback) refused(service, authority string) bool {
	now := time.Now()
	number := pb.currentCase()
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

func (pb *Playback) currentCase() int {
	if pb.opt.Case == nil {
		return 0
	}
	return pb.opt.Case()
}

func (pb *Playback) stream(s Stream) httpstream.Handler {
	h := pb.handler.Conn(replay.Conn{Service: s.Service, Scheme: s.Scheme, Authority: s.Authority, Case: pb.opt.Case, Forward: s.Forward})
	if s.Reverse {
		return reverseHandler{pb, h}
	}
	return h
}

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
	o := h.originFor(req.Head)
	head := *req.Head
	head.Authority, head.Scheme = o.host, o.scheme
	r := *req
	r.Head = &head
	h.handler.Conn(replay.Conn{Scheme: o.scheme, Authority: o.authority, Case: h.opt.Case}).ServeStream(ctx, &r, w)
}

// originFor chooses the host that the request names, else the first that has a
// recorded call of the same method and path.
func (h reverseHandler) originFor(head *httpstream.RequestHead) origin {
	for _, o := range h.origins {
		if strings.EqualFold(o.host, head.Authority) || strings.EqualFold(o.authority, head.Authority) {
			return o
		}
	}
	for _, o := range h.origins {
		if h.handler.Index.Peek(head.Method, o.scheme+"://"+o.host+head.Target, match.Scope{Case: h.currentCase()}) != nil {
			return o
		}
	}
	return h.origins[0]
}
