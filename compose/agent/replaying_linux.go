package agent

import (
	"context"

	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/httpstream/replay"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// replaying is the engine of replay mode: the outside world is the tape.
type replaying struct {
	s        *serving
	playback *proxy.Playback
}

// newReplaying also returns what DNS answered when the tape was recorded.
func newReplaying(s *serving) (*replaying, []tape.Name, error) {
	t, err := tape.Open(s.start.Tape)
	if err != nil {
		return nil, nil, err
	}
	r := &replaying{s: s}
	r.playback, err = proxy.NewPlayback(t, proxy.PlaybackOptions{
		Speed:   s.start.Speed,
		Reuse:   s.start.Reuse,
		Redact:  tape.NewRedactor(s.start.Redact),
		Case:    s.cases.current,
		OnEvent: r.onEvent,
	})
	return r, t.Manifest.Names, err
}

func (r *replaying) configure(cfg *proxy.Config) { r.playback.Configure(cfg) }

func (r *replaying) onEvent(e replay.Event) {
	r.s.out.send(FromAgent{Event: PlayedEvent(e)})
	if e.Err != nil {
		r.s.out.send(FromAgent{Event: &Event{Type: "error", Service: e.Service, URL: e.URL, Detail: e.Err.Error()}})
	}
}

// close has nothing to wait for: answers under way are the app's to finish.
func (r *replaying) close(context.Context) error { return nil }
