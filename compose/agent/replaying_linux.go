package agent

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/compose/agent/runner"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/httpstream/replay"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// replaying is the engine of replay mode: the outside world is the tape.
type replaying struct {
	s        *serving
	playback *proxy.Playback
	tape     *tape.Tape
	rules    compare.Rules
	ledger   *runner.Ledger
}

// newReplaying also returns what DNS answered when the tape was recorded.
func newReplaying(s *serving) (*replaying, []tape.Name, error) {
	t, err := tape.Open(s.start.Tape)
	if err != nil {
		return nil, nil, err
	}
	rules, err := parseNoise(s.start.Noise)
	if err != nil {
		return nil, nil, err
	}
	r := &replaying{s: s, tape: t, rules: rules, ledger: runner.NewLedger()}
	r.playback, err = proxy.NewPlayback(t, proxy.PlaybackOptions{
		Speed:   s.start.Speed,
		Reuse:   s.start.Reuse,
		Redact:  tape.NewRedactor(s.start.Redact),
		Case:    s.cases.current,
		Rules:   requestRules(t, rules),
		OnEvent: r.onEvent,
		Watch:   r.ledger.Watch,
	})
	return r, t.Manifest.Names, err
}

// requestRules is what of the noise is about the app's requests.
func requestRules(t *tape.Tape, noise compare.Rules) match.Rules {
	of := func(r compare.Rules) match.Rules {
		return match.Rules{IgnoreQuery: r.IgnoreRequestQuery, IgnoreHeader: r.IgnoreRequestHeader, IgnoreBody: r.IgnoreRequestBody}
	}
	names := make(map[int]string, len(t.Cases))
	for _, x := range t.Cases {
		names[x.Number] = strings.TrimSuffix(filepath.Base(x.File), filepath.Ext(x.File))
	}
	rules := of(noise)
	rules.OfCase = func(number int) *match.Rules {
		if name := names[number]; name != "" && noise.OwnRequests(name) {
			own := of(noise.For(name))
			return &own
		}
		return nil
	}
	return rules
}

// parseNoise reads Start.Noise.
func parseNoise(text string) (compare.Rules, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return compare.Rules{}, fmt.Errorf("the noise rules: %w", err)
	}
	if len(doc.Content) == 0 {
		return compare.Rules{}, nil
	}
	return compare.ParseRules("wiretape.yaml", doc.Content[0])
}

func (r *replaying) configure(cfg *proxy.Config) {
	r.playback.Configure(cfg)
	recorded := cfg.Unreachable
	cfg.Unreachable = func(service, authority string) bool {
		return isLinkLocal(authority) || recorded(service, authority)
	}
}

// isLinkLocal reports whether nothing can be on the tape for an authority
// because record leaves its address alone.
func isLinkLocal(authority string) bool {
	ap, err := netip.ParseAddrPort(authority)
	return err == nil && ap.Addr().IsLinkLocalUnicast()
}

func (r *replaying) onEvent(e replay.Event) {
	ev := PlayedEvent(e)
	if e.Miss != nil {
		ev.Case = r.ledger.Owner(e.Miss)
	}
	r.s.out.send(FromAgent{Event: ev})
	if e.Err != nil {
		r.s.out.send(FromAgent{Event: &Event{Type: "error", Service: e.Service, URL: e.URL, Detail: e.Err.Error()}})
	}
}

// close has nothing to wait for: answers under way are the app's to finish.
func (r *replaying) close(context.Context) error { return nil }
