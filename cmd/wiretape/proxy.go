package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/httpstream/record"
	"github.com/wiretape/wiretape/httpstream/replay"
	"github.com/wiretape/wiretape/httpstream/tape"
	mitmtls "github.com/wiretape/wiretape/tls"
)

func proxyCommand(io streams) *cli.Command {
	listen := &cli.StringFlag{Name: "listen", Usage: "`ADDR` to serve on, host:port", Value: "127.0.0.1:8888"}
	tapeDir := &cli.StringFlag{Name: "tape", Usage: "the tape's `DIR`", Value: defaultTape}
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print events as JSON, one a line"}
	return &cli.Command{
		Name:  "proxy",
		Usage: "record and replay without Docker, as an HTTP proxy",
		Subcommands: []*cli.Command{
			{
				Name: "record", Usage: "record what passes until interrupted",
				Description: `   As a forward proxy, set http_proxy and https_proxy in the client, and have it
   trust the certificate of "wiretape ca export". As a reverse proxy, give the
   real server with --upstream and point the client at the proxy.

   example: wiretape proxy record --tape tapes/chat --upstream https://api.openai.com`,
				Flags: []cli.Flag{
					listen, tapeDir, asJSON,
					&cli.StringFlag{Name: "upstream", Usage: "`URL` of the server that requests to the proxy itself are for"},
					&cli.StringFlag{Name: "upstream-ca", Usage: "`FILE` of PEM certificates to trust upstream, beside the system's"},
					&cli.StringSliceFlag{Name: "host", Usage: "record only hosts that match `PATTERN` (may be given several times)"},
					&cli.BoolFlag{Name: "keep-encoding", Usage: "let servers compress, and record the compressed bytes"},
				},
				Action: func(c *cli.Context) error {
					opt, err := proxyRecordOptionsOf(c)
					if err != nil {
						return err
					}
					return proxyRecord(c.Context, opt, io)
				},
			},
			{
				Name: "replay", Usage: "answer from a tape until interrupted",
				Description: "   example: wiretape proxy replay --tape tapes/chat --listen 127.0.0.1:8888",
				Flags: []cli.Flag{
					listen, tapeDir, asJSON,
					&cli.Float64Flag{Name: "speed", Usage: "play `X` times as fast as recorded; 0 means without any wait", Value: 1},
				},
				Action: func(c *cli.Context) error {
					opt, err := proxyReplayOptionsOf(c)
					if err != nil {
						return err
					}
					return proxyReplay(c.Context, opt, io)
				},
			},
		},
	}
}

// proxyOptions are those of both verbs.
type proxyOptions struct {
	listen, tape string
	output       output
}

// proxyRecordOptions are those of proxy record.
type proxyRecordOptions struct {
	proxyOptions
	upstream     *url.URL       // nil without --upstream
	roots        *x509.CertPool // nil for the system's
	hosts        *proxy.HostPolicy
	keepEncoding bool
}

// proxyReplayOptions are those of proxy replay.
type proxyReplayOptions struct {
	proxyOptions
	speed float64
}

func proxyOptionsOf(c *cli.Context) (proxyOptions, error) {
	return proxyOptions{listen: c.String("listen"), tape: c.String("tape"), output: outputOf(c)}, exactArgs(c, 0, "")
}

func proxyRecordOptionsOf(c *cli.Context) (o proxyRecordOptions, err error) {
	if o.proxyOptions, err = proxyOptionsOf(c); err != nil {
		return o, err
	}
	o.keepEncoding = c.Bool("keep-encoding")
	if o.upstream, err = parseUpstream(c.String("upstream")); err != nil {
		return o, err
	}
	if o.roots, err = upstreamRoots(c.String("upstream-ca")); err != nil {
		return o, err
	}
	if o.hosts, err = proxy.ParseHosts(c.StringSlice("host")); err != nil {
		return o, usagef("for example --host api.openai.com or --host '*.example.com:8443'", "--host: %w", err)
	}
	return o, nil
}

func proxyReplayOptionsOf(c *cli.Context) (o proxyReplayOptions, err error) {
	if o.proxyOptions, err = proxyOptionsOf(c); err != nil {
		return o, err
	}
	if o.speed = c.Float64("speed"); o.speed < 0 {
		return o, usagef("1 plays as recorded, 2 twice as fast, 0 without any wait", "--speed %v is negative", o.speed)
	}
	return o, nil
}

func proxyRecord(ctx context.Context, o proxyRecordOptions, io streams) error {
	if err := onlyFolder(o.tape, "wiretape proxy"); err != nil {
		return err
	}
	root, err := mitmtls.LoadOrCreateRoot("")
	if err != nil {
		return err
	}
	l, err := listenOn(o.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	rec, err := newRecordingTo(o.tape)
	if err != nil {
		return err
	}
	r := newReporter(io.out, o.output)
	defer r.close()
	r.redact = tape.NewRedactor(tape.RedactRules{})
	rec.begin(r)
	p := proxy.New(proxy.Config{
		Dial: dialNamed, Leaf: root.Issuer().Leaf, Hosts: o.hosts, KeepEncoding: o.keepEncoding,
		Roots:  func(string) *x509.CertPool { return o.roots },
		Record: func(s proxy.Stream) httpstream.Sink { return rec.recorder.Conn(connOf(s)) },
		Failed: func(s proxy.Stream, at time.Time, why string) { rec.recorder.Failed(connOf(s), at, why) },
		Notify: func(n event.Notice) { rec.notice(r, n) },
	})
	r.note("recording to %s; serving on %s; end with Ctrl-C", o.tape, l.Addr())
	started := time.Now()
	err = p.ServeExplicit(ctx, l, o.upstream)
	return errors.Join(err, rec.finish(r, started))
}

func connOf(s proxy.Stream) record.Conn {
	return record.Conn{Kind: tape.Call, Service: s.Service, Scheme: s.Scheme, Authority: s.Authority, TLS: s.TLS}
}

func parseUpstream(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	const hint = "for example --upstream https://api.openai.com"
	u, err := url.Parse(s)
	if err != nil {
		return nil, usagef(hint, "--upstream: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return nil, usagef(hint, "--upstream %s: write http:// or https:// and a host, with a port if need be, and nothing behind it", s)
	}
	return u, nil
}

// upstreamRoots is nil, which means the system's, unless file adds to them.
func upstreamRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := readUpstreamCA("--upstream-ca", file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(pem)
	return pool, nil
}

// readUpstreamCA reads a file of certificates that what names, a flag or a key.
func readUpstreamCA(what, file string) ([]byte, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("give a file of PEM certificates", "%s: %w", what, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return nil, usagef("convert it with: openssl x509 -inform der -in FILE", "%s: %s has no certificate in PEM form", what, file)
	}
	return pem, nil
}

func listenOn(address string) (net.Listener, error) {
	const hint = "choose another address; port 0 takes any free one"
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, usagef("for example --listen 127.0.0.1:8888", "--listen %s is not host:port", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &event.Problem{Kind: event.Environment, Err: fmt.Errorf("--listen %s: %w", address, err), Next: hint}
	}
	return l, nil
}

func dialNamed(ctx context.Context, d proxy.Dest) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", d.Authority())
}

// recordingTo writes a recording of this process beside the tape that it is to replace.
type recordingTo struct {
	dir, partial string
	writer       *tape.Writer
	recorder     *record.Recorder
	mu           sync.Mutex
	problems     []string
}

func newRecordingTo(dir string) (*recordingTo, error) {
	rec := &recordingTo{dir: filepath.Clean(dir), partial: filepath.Clean(dir) + ".new"}
	// Seen now, not when the recording is done.
	for _, path := range []string{rec.dir, rec.partial} {
		if err := mayReplace(path); err != nil {
			return nil, err
		}
	}
	err := os.RemoveAll(rec.partial) // what a killed recording left
	if err == nil {
		rec.writer, err = tape.Create(rec.partial, tape.Manifest{Created: time.Now(), By: version})
	}
	if err != nil {
		return nil, &event.Problem{Kind: event.Environment, Err: fmt.Errorf("make the tape: %w", err), Next: "check the space and the permissions there, or choose another folder with --tape"}
	}
	return rec, nil
}

// mayReplace reports what is in the way of a tape and is none.
func mayReplace(path string) error {
	const hint = "move it away, or choose another folder with --tape"
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, syscall.ENOTDIR):
		return usagef(hint, "%s is in the way: it is a file, and a tape is a folder", path)
	case err != nil:
		return usagef(hint, "look at the tape's folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(path, "tape.yaml")); err != nil && len(entries) > 0 {
		return usagef(hint, "%s is in the way: it is not empty, and not a tape", path)
	}
	return nil
}

func (rec *recordingTo) begin(r *reporter) {
	rec.recorder = record.New(record.Options{
		OnExchange: func(e event.Exchange) { r.event(&event.Event{Exchange: &e}) },
		OnError: func(err error) {
			rec.mu.Lock()
			defer rec.mu.Unlock()
			rec.problems = append(rec.problems, err.Error())
			r.warn("the tape can't be written: "+err.Error(), "make room or choose another --tape, and record again")
		},
	}, rec.writer.Apply)
}

func (rec *recordingTo) notice(r *reporter, n event.Notice) {
	if n.Kind == event.Stray {
		logrus.Debug(n.Detail)
		return
	}
	if n.Kind == event.Opaque {
		rec.recorder.NotUnderstood(n)
	}
	if why := n.Missing(); why != "" {
		rec.mu.Lock()
		if !slices.Contains(rec.problems, why) {
			rec.problems = append(rec.problems, why)
		}
		rec.mu.Unlock()
	}
	r.notice(withNext(n))
}

// withNext is a notice with what to do.
func withNext(n event.Notice) event.Notice {
	switch {
	case n.Kind == event.Untrusted:
		n.Next = "have the client trust the certificate of: wiretape ca export"
	case n.Cause == event.PrivateRoot:
		n.Next = "if upstream's certificate is signed by a private root, give it with --upstream-ca FILE"
	}
	return n
}

// finish completes the tape and puts it in its place.
func (rec *recordingTo) finish(r *reporter, started time.Time) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := rec.recorder.Close(ctx)
	if cerr := rec.writer.Close(func(m *tape.Manifest) { m.Problems = append(m.Problems, rec.problems...) }); err == nil {
		err = cerr
	}
	complete := err == nil && len(rec.problems) == 0
	worth := tape.WorthOf(rec.partial)
	poorer := complete && worth < tape.WorthOf(rec.dir)
	if complete && !poorer {
		if err = tape.Replace(rec.partial, rec.dir); err != nil {
			return &event.Problem{
				Kind: event.Environment, Err: fmt.Errorf("the recording is complete, in %s, but can't take its place: %w", rec.partial, err),
				Next: "move it to " + rec.dir,
			}
		}
	}
	r.finish(summary{Mode: "record", Tape: rec.dir, Complete: &complete, Problems: rec.problems, OK: complete && !poorer, Took: time.Since(started).Seconds()})
	if !complete {
		return &event.Problem{Kind: event.Incomplete, Err: errors.Join(err, fmt.Errorf("the recording is incomplete; what there is of it is in %s", rec.partial)), Next: "record again"}
	}
	const pass = "have the client use the proxy, and record again"
	switch {
	case poorer && worth == tape.Nothing:
		err = os.RemoveAll(rec.partial)
		return &event.Problem{Kind: event.Incomplete, Err: errors.Join(fmt.Errorf("nothing was recorded, so the tape at %s was left as it was", rec.dir), err), Next: pass}
	case poorer:
		return &event.Problem{Kind: event.Incomplete, Err: fmt.Errorf("none of the calls was answered, so the tape at %s was left as it was; this recording is in %s", rec.dir, rec.partial),
			Next: recordAnswers}
	case worth == tape.Nothing:
		r.warn("nothing was recorded", pass)
	case worth == tape.Unanswered:
		r.warn("none of the calls was answered", recordAnswers)
	}
	return nil
}

func proxyReplay(ctx context.Context, o proxyReplayOptions, io streams) error {
	if err := onlyFolder(o.tape, "wiretape proxy"); err != nil {
		return err
	}
	t, err := tape.Open(o.tape)
	if err != nil {
		return err
	}
	root, err := mitmtls.LoadOrCreateRoot("")
	if err != nil {
		return err
	}
	l, err := listenOn(o.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	r := newReporter(io.out, o.output)
	defer r.close()
	r.mendMiss = "record again with wiretape proxy record"
	r.redact = tape.NewRedactor(tape.RedactRules{})
	playback, err := proxy.NewPlayback(t, proxy.PlaybackOptions{
		Speed: o.speed, Reuse: true, Redact: tape.NewRedactor(tape.RedactRules{}),
		OnEvent: func(e replay.Event) {
			out := e.Outcome()
			r.event(&out)
			err := e.Err
			if err == nil && ctx.Err() == nil { // else it is we who went away
				err = e.LeftError()
			}
			if err != nil {
				n := e.Failure(err)
				n.Next = cmp.Or(n.Next, "check the tape with wiretape tape verify "+t.Dir)
				r.notice(*n)
			}
		},
	})
	if err != nil {
		return err
	}
	defer playback.Close()
	cfg := proxy.Config{Leaf: root.Issuer().Leaf, Notify: func(n event.Notice) {
		if n.Kind != event.Stray {
			r.notice(withNext(n))
		}
	}}
	playback.Configure(&cfg)
	r.note("replaying %s; serving on %s; end with Ctrl-C", o.tape, l.Addr())
	started := time.Now()
	if err := proxy.New(cfg).ServeExplicit(ctx, l, nil); err != nil {
		return err
	}
	n := r.counts()
	ok := n.Misses == 0 && n.Errors == 0
	r.finish(summary{Mode: "replay", Tape: t.Dir, OK: ok, Took: time.Since(started).Seconds()})
	if !ok {
		return &event.Problem{Kind: event.Mismatch, Err: errors.New("not all was answered as recorded"), Said: true}
	}
	return nil
}
