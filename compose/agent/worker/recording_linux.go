package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/httpstream/record"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// maxPending keeps the agent small, in bytes; a slow disk is felt by the app only
// when this much waits for it.
const maxPending = 4 << 20

// maxUnresolved is how many names that can't be resolved are told.
const maxUnresolved = 100

// A recordJob is that of record mode: what passes becomes records, which
// the CLI writes to the tape.
type recordJob struct {
	s        *serving
	recorder *record.Recorder
	wire     []byte // of the record that is being sent

	mu     sync.Mutex
	failed map[string]bool // names that could not be resolved
}

func newRecordJob(s *serving) *recordJob {
	r := &recordJob{s: s, failed: make(map[string]bool)}
	r.recorder = record.New(record.Options{
		Start:      time.Now(),
		MaxPending: maxPending,
		Redact:     tape.NewRedactor(s.start.Redact),
		OnExchange: r.onExchange,
		Flush:      s.out.Flush,
	}, func(rec tape.Record) error {
		r.wire = rec.Append(r.wire[:0])
		return s.out.Gather(r.wire)
	})
	s.dns.Keep = func(n tape.Name) { r.recorder.Add(tape.Note{Name: &n}) }
	s.dns.Unresolved = r.unresolved
	return r
}

// unresolved tells of a name that can't be resolved, once.
func (r *recordJob) unresolved(name, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.failed[name] && len(r.failed) < maxUnresolved {
		r.failed[name] = true
		r.s.out.Notice(event.Notice{Kind: event.Unreachable, About: name, Detail: "its name can't be resolved: " + why})
	}
}

func (r *recordJob) configure(cfg *proxy.Config) {
	cfg.Record = func(st proxy.Stream) httpstream.Sink { return r.recorder.Conn(r.conn(tape.Call, st)) }
	cfg.Failed = func(st proxy.Stream, at time.Time, why string) { r.recorder.Failed(r.conn(tape.Call, st), at, why) }
}

func (r *recordJob) conn(kind tape.Kind, st proxy.Stream) record.Conn {
	return record.Conn{
		Kind: kind, Service: st.Service, Scheme: st.Scheme, Authority: st.Authority, TLS: st.TLS,
		Cases: r.s.cases.Cases,
	}
}

func (r *recordJob) recordCases(port int) func(proxy.Stream) httpstream.Sink {
	return func(st proxy.Stream) httpstream.Sink {
		c := r.conn(tape.Case, st)
		c.Port = port
		return r.s.cases.Sink(r.recorder.Conn(c))
	}
}

func (r *recordJob) notUnderstood(n event.Notice) {
	r.recorder.NotUnderstood(n)
	if why := n.Missing(); why != "" {
		r.recorder.Add(tape.Note{Problem: why})
	}
}

func (r *recordJob) runCases(*agent.Run) error {
	return errors.New("cases can be sent only in replay")
}

// afterCase is so long that the recording has what a test would notice behind its last
// case: a bit longer than a test waits.
func (r *recordJob) afterCase() time.Duration { return 1500 * time.Millisecond }

func (r *recordJob) onExchange(e event.Exchange) {
	line, err := r.s.out.Line(agent.FromAgent{Event: &event.Event{Exchange: &e}})
	if err == nil {
		_ = r.s.out.Gather(line)
	}
}

func (r *recordJob) close(ctx context.Context) error { return r.recorder.Close(ctx) }
