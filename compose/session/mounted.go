package session

import (
	"context"
	"errors"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// finishTimeout is how long an agent may take to put the tape in its place.
const finishTimeout = time.Minute

// A tapeWriter is what a session knows of the tape that it records: one in a folder
// of this host, or one that the agent writes. A nil *recording.Pending is none.
type tapeWriter interface {
	Apply(tape.Record)
	AddProblem(string)
	Failed() <-chan struct{}
	Err() error
	Finish(good bool) (*recording.Result, error)
	Discard() error
}

// A mountedTape is one that the agent writes to a volume. What is on it does not
// depend on this process; all that is done here is to say how it ended.
type mountedTape struct {
	at   recording.Volume
	fail chan struct{} // closed when the tape can't be written any more

	mu       sync.Mutex
	problems []string
	err      error // why fail is closed
	good     bool
	asked    bool // to finish it
	result   *recording.Result
	finished error
}

func newMountedTape(at recording.Volume) *mountedTape {
	return &mountedTape{at: at, fail: make(chan struct{})}
}

// Apply is not called: the records do not come here.
func (m *mountedTape) Apply(tape.Record) {}

func (m *mountedTape) AddProblem(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = append(m.problems, text)
}

func (m *mountedTape) Failed() <-chan struct{} { return m.fail }

func (m *mountedTape) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// unwritable takes the agent's word that the tape can't be written.
func (m *mountedTape) unwritable(p *event.Problem) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = p
		close(m.fail)
	}
}

// used says how the session went, before it is undone.
func (m *mountedTape) used(err error) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.good = err == nil
}

// end has the agent put the tape in its place, while it is there.
func (m *mountedTape) end(ctx context.Context, l *Link) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = true
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	reply, err := l.Request(ctx, agent.ToAgent{Finish: &agent.Finish{Good: m.good, Problems: m.problems}})
	if err != nil {
		m.cutOff(err)
		return
	}
	if m.result = reply.Recording; m.result == nil {
		m.cutOff(errors.New("the agent does not say what became of it"))
		return
	}
	m.result.Tape = inVolume(m.at, m.result.Tape)
	if reply.Problem != nil {
		m.finished = reply.Problem
	}
}

// cutOff is the end of a recording whose agent is gone. What was written is in the
// volume, beside the tape's place. m.mu is held.
func (m *mountedTape) cutOff(err error) {
	m.result = &recording.Result{
		Tape: pendingIn(m.at).String(), Kept: true, Worth: tape.Something, Problems: append(m.problems, "its end is missing: "+err.Error()),
	}
}

// begun reports whether the recording was one that is to be kept.
func (m *mountedTape) begun() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

func (m *mountedTape) Finish(bool) (*recording.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.result == nil {
		m.cutOff(errors.New("the agent is gone"))
	}
	return m.result, m.finished
}

// Discard leaves it to the agent, which does so when it ends.
func (m *mountedTape) Discard() error { return nil }

// inVolume is a folder of the agent's container as the user calls it.
func inVolume(at recording.Volume, dir string) string {
	at.Folder = path.Base(strings.TrimRight(dir, "/"))
	return at.String()
}

// pendingIn is where a tape is recorded before it takes its place.
func pendingIn(at recording.Volume) recording.Volume {
	at.Folder += ".new"
	return at
}
