package worker

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/agent/runner"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/record"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A servicePort is where the runner finds what is behind a published port.
type servicePort struct {
	agent.Ingress
	dialer *serviceDialer
}

// runCases sends cases, one result each.
func (r *replayJob) runCases(m *agent.Run) error {
	s := r.s
	opt := runner.Options{
		Tape: r.tape, TapeName: m.TapeName, Calls: r.ledger, Rules: r.rules, Formats: r.formats, Redact: tape.NewRedactor(s.start.Redact), Limits: m.Limits, KeepEncoding: s.start.KeepEncoding,
		Headers: m.Headers, TimeLimit: m.TimeLimit, Parallel: m.Parallel, Collisions: r.playback.Collisions(), MaxDifferences: m.MaxDifferences,
		Dial: s.dialCase,
		Begin: func(number int, c runner.Company) {
			r.playback.Release(number)
			_ = s.out.Send(agent.FromAgent{Running: number}) // a link that is down is noticed at the result
			if c != runner.Alone {
				number = 0
			}
			s.cases.Set(number)
		},
		Sent: r.caseSent,
		Result: func(c report.CaseResult) error {
			return s.out.Send(agent.FromAgent{Result: &c, Sent: r.sentAt(c.Number)})
		},
	}
	if m.Update {
		opt.Record = r.recordAgain
	}
	err := runner.Run(s.ctx, opt, m.Cases)
	// What runs behind the cases finds the tape as it was.
	s.cases.Set(0)
	r.playback.ReleaseAll()
	return err
}

// recordAgain sends what becomes of a case as updates.
func (r *replayJob) recordAgain(x *tape.Exchange) *runner.Retake {
	id := r.tries.Add(1)
	rec := record.New(record.Options{
		Start: r.begun, MaxPending: maxPending, Redact: tape.NewRedactor(r.s.start.Redact), CasesFrom: x.Number,
	}, func(u tape.Record) error {
		u.ID = id
		return r.s.out.Send(agent.FromAgent{Update: &u})
	})
	return &runner.Retake{
		Sink:  rec.Conn(record.Conn{Kind: tape.Case, Service: x.Service, Port: x.Port, Scheme: "http", Authority: authorityOf(x.Request.URL)}),
		Close: func() error { return rec.Close(r.s.ctx) },
	}
}

// caseSent keeps when a case was sent last.
func (r *replayJob) caseSent(number int, at time.Time) {
	r.sentMu.Lock()
	defer r.sentMu.Unlock()
	r.sent[number] = at.Sub(r.begun)
}

func (r *replayJob) sentAt(number int) time.Duration {
	r.sentMu.Lock()
	defer r.sentMu.Unlock()
	return r.sent[number]
}

// dialCase connects to the port that a case was sent to.
func (s *serving) dialCase(ctx context.Context, x *tape.Exchange) (net.Conn, error) {
	p, err := portOf(s.ports, x)
	if err != nil {
		return nil, err
	}
	return p.dialer.dial(ctx)
}

// portOf chooses the port of a case's service: that which the case was recorded
// at, else the one behind the published port in its URL, else the only one. The
// published number may have been the engine's choice, and be another port's now.
func portOf(ports []servicePort, x *tape.Exchange) (servicePort, error) {
	port := publishedPort(x.Request.URL)
	var own []servicePort
	for _, p := range ports {
		if p.Service == x.Service {
			own = append(own, p)
		}
	}
	for _, is := range []func(servicePort) bool{
		func(p servicePort) bool { return p.Port == x.Port },
		func(p servicePort) bool {
			_, published, err := net.SplitHostPort(p.Published)
			return err == nil && published == port
		},
		func(servicePort) bool { return len(own) == 1 },
	} {
		if i := slices.IndexFunc(own, is); i >= 0 {
			return own[i], nil
		}
	}
	if len(own) > 0 {
		return servicePort{}, event.Problemf(event.App, "publish it again in the compose file, or record the case again",
			"port %s of %s is gone: the service publishes other ones now", port, x.Service)
	}
	return servicePort{}, event.Problemf(event.App, "publish a port of "+x.Service+" in the compose file, or delete the case's file from the tape",
		"%s publishes no port any more", x.Service)
}

// authorityOf is the host and port of an absolute URL.
func authorityOf(url string) string {
	_, authority, _, _ := httpstream.SplitURL(url)
	return authority
}

// publishedPort is the port in a case's URL.
func publishedPort(url string) string {
	if _, port, err := net.SplitHostPort(authorityOf(url)); err == nil {
		return port
	}
	return "80"
}
