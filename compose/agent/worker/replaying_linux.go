package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/agent/dns"
	"github.com/wiretape/wiretape/compose/agent/runner"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/llm"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/noise"
	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/httpstream/record"
	"github.com/wiretape/wiretape/httpstream/replay"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A replayJob is that of replay mode: the outside world is the tape.
type replayJob struct {
	s        *serving
	playback *proxy.Playback
	tape     *tape.Tape
	rules    noise.Rules
	formats  *llm.Table
	ledger   *runner.Ledger
	misses   *record.Recorder // of the calls that go on to the outside; nil unless they are recorded

	begun  time.Time    // the zero of the updates' clock
	tries  atomic.Int64 // cases that were recorded anew; the ID of the last
	sentMu sync.Mutex
	sent   map[int]time.Duration // when each case was sent last, since begun
}

// newReplayJob also returns what DNS answered when the tape was recorded.
func newReplayJob(s *serving) (*replayJob, []tape.Name, error) {
	t, err := tape.Open(s.start.Tape)
	if err != nil {
		return nil, nil, err
	}
	for _, x := range t.Cases {
		s.known.Add(x.Number, x.Request.Header)
	}
	runner.Attribute(t, s.known)
	rules, err := parseNoise(s.start.Noise)
	if err != nil {
		return nil, nil, err
	}
	formats, err := parseFormats(s.start.LLMFormats)
	if err != nil {
		return nil, nil, err
	}
	r := &replayJob{s: s, tape: t, rules: rules, formats: formats, ledger: runner.NewLedger(), begun: time.Now(), sent: make(map[int]time.Duration)}
	r.ledger.Answered = s.start.OnMiss.Answered()
	r.playback, err = proxy.NewPlayback(t, proxy.PlaybackOptions{
		Speed:   s.start.Speed,
		Reuse:   s.start.Reuse,
		Redact:  tape.NewRedactor(s.start.Redact),
		Case:    s.cases.One,
		Rules:   requestRules(t, rules, s.start),
		OnEvent: r.onEvent,
		Watch:   r.ledger.Watch,
	})
	if err == nil && s.start.OnMiss == agent.RecordMiss {
		r.misses = r.recordMisses()
	}
	return r, t.Manifest.Names, err
}

// firstMissID keeps the IDs of recorded misses apart from those of cases that are
// recorded anew.
const firstMissID = 1 << 32

// recordMisses sends what goes on to the outside as updates.
func (r *replayJob) recordMisses() *record.Recorder {
	return record.New(record.Options{Start: r.begun, MaxPending: maxPending, Redact: tape.NewRedactor(r.s.start.Redact)}, func(rec tape.Record) error {
		if rec.ID != 0 {
			rec.ID += firstMissID
		}
		return r.s.out.Send(agent.FromAgent{Update: &rec})
	})
}

// keepName keeps what DNS answers for the tape, if misses are recorded.
func (r *replayJob) keepName() func(tape.Name) {
	if r.misses == nil {
		return nil
	}
	return func(n tape.Name) { r.misses.Add(tape.Note{Name: &n}) }
}

// requestRules is what of the noise is about the app's requests.
func requestRules(t *tape.Tape, ignored noise.Rules, start *agent.Start) match.Rules {
	names := make(map[int]string, len(t.Cases))
	for _, x := range t.Cases {
		names[x.Number] = strings.TrimSuffix(filepath.Base(x.File), filepath.Ext(x.File))
	}
	rules := requestsOf(ignored)
	rules.Headers = start.MatchHeaders
	if start.KeepEncoding { // else the server is asked for none, whatever the app asks for
		rules.Headers = append(slices.Clone(rules.Headers), "Accept-Encoding")
	}
	shared := make(map[string]*match.Rules) // by the patterns that they are from
	rules.OfCase = func(number int) *match.Rules {
		name := names[number]
		if name == "" {
			return nil
		}
		patterns := ignored.OwnRequests(name)
		if patterns == "" {
			return nil
		}
		if shared[patterns] == nil {
			own := requestsOf(ignored.For(name))
			shared[patterns] = &own
		}
		return shared[patterns]
	}
	return rules
}

func requestsOf(r noise.Rules) match.Rules {
	return match.Rules{
		IgnoreQuery: r.IgnoreRequestQuery, IgnoreHeader: r.IgnoreRequestHeader, IgnoreBody: r.IgnoreRequestBody,
		IgnorePath: r.RequestPath(), IgnoreText: r.RequestText(),
	}
}

// parseNoise reads agent.Start.Noise.
func parseNoise(text string) (noise.Rules, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return noise.Rules{}, fmt.Errorf("the noise rules: %w", err)
	}
	return noise.Parse("wiretape.yaml", &doc)
}

// parseFormats reads agent.Start.LLMFormats.
func parseFormats(text string) (*llm.Table, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("llm_formats: %w", err)
	}
	own, err := llm.Parse("wiretape.yaml", &doc)
	if err != nil {
		return nil, err
	}
	return llm.NewTable(own...)
}

func (r *replayJob) configure(cfg *proxy.Config) {
	r.playback.Configure(cfg)
	cfg.Passthrough = r.s.start.OnMiss.Open()
	dial := cfg.Dial
	cfg.Dial = func(ctx context.Context, d proxy.Dest) (net.Conn, error) {
		if dns.IsMadeUp(d.Addr.Addr()) {
			return nil, errNoAddress
		}
		return dial(ctx, d)
	}
	if r.misses != nil {
		cfg.Record = func(st proxy.Stream) httpstream.Sink {
			return r.misses.Conn(record.Conn{
				Kind: tape.Call, Service: st.Service, Scheme: st.Scheme, Authority: st.Authority, TLS: st.TLS, Cases: r.s.cases.Cases,
			})
		}
	}
	recorded := cfg.Unreachable
	cfg.Unreachable = func(service, authority string) bool {
		return isLinkLocal(authority) || recorded(service, authority)
	}
}

// recordCases is nil: the cases are the tape's.
func (r *replayJob) recordCases(int) func(proxy.Stream) httpstream.Sink { return nil }

// notUnderstood has nothing to keep: what a test does not read is told, and not recorded.
func (r *replayJob) notUnderstood(event.Notice) {}

// afterCase is nothing: the runner itself waits for what a case does behind its answer.
func (r *replayJob) afterCase() time.Duration { return 0 }

// errNoAddress is for a name of which neither a resolver nor the tape has an address.
var errNoAddress = errors.New("its name has no address")

// isLinkLocal reports whether nothing can be on the tape for an authority
// because record leaves its address alone.
func isLinkLocal(authority string) bool {
	ap, err := netip.ParseAddrPort(authority)
	return err == nil && ap.Addr().IsLinkLocalUnicast()
}

func (r *replayJob) onEvent(e replay.Event) {
	out := e.Outcome()
	if e.Miss != nil {
		out.Exchange.Case = r.ledger.Owner(e.Miss)
		if e.Forwarded {
			out.Miss = e.Miss.Clone()
			out.Miss.Answered = r.s.start.OnMiss.Answered()
		}
	}
	r.s.out.Send(agent.FromAgent{Event: &out})
	err := e.Err
	if r.ledger.Judged(err) {
		return
	}
	if err == nil && r.s.ctx.Err() == nil && !r.hasSent() { // else the cases' verdicts say it
		err = e.LeftError()
	}
	if err != nil {
		r.s.out.Notice(*e.Failure(err))
	}
}

// hasSent reports whether this session sends cases.
func (r *replayJob) hasSent() bool {
	r.sentMu.Lock()
	defer r.sentMu.Unlock()
	return len(r.sent) > 0
}

// close ends the recording of misses; other answers under way are the app's to finish.
func (r *replayJob) close(ctx context.Context) error {
	if r.misses == nil {
		return nil
	}
	return r.misses.Close(ctx)
}
