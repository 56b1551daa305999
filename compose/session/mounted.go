package session

import (
	"context"
	"errors"
	"os"
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
	Finish(how recording.Outcome) (*recording.Result, error)
	Discard() error
}

// A mountedTape is one that the agent writes, to a volume or to the folder of a pending
// recording. What is on it does not depend on this process; all that is done here is to
// say how it ended, and to put a folder in its place.
type mountedTape struct {
	at     recording.Volume
	folder *recording.Pending // nil for a volume
	fail   chan struct{}      // closed when the tape can't be written any more

	mu       sync.Mutex
	problems []string
	err      error // why fail is closed
	outcome  recording.Outcome
	asked    bool // to finish it
	result   *recording.Result
	finished error
}

func newMountedTape(at recording.Volume) *mountedTape {
	return &mountedTape{at: at, fail: make(chan struct{})}
}

// Apply is not called: the records do not come here.
func (m *mountedTape) Apply(tape.Record) {}

// recording is what the agent is told of it.
func (m *mountedTape) recording() *agent.Recording {
	if m.folder == nil {
		return &agent.Recording{Dir: path.Join(agent.TapeDir, m.at.Folder)}
	}
	return &agent.Recording{Dir: agent.TapeDir, Begun: true, Owner: ownerOfTapes()}
}

// ownerOfTapes is the user of this process where that is not root, as the agent is.
func ownerOfTapes() *tape.Owner {
	if os.Getuid() == 0 {
		return nil
	}
	return &tape.Owner{UID: os.Getuid(), GID: os.Getgid()}
}

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
	m.outcome = recording.OutcomeOf(err)
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
	reply, err := l.Request(ctx, agent.ToAgent{Finish: &agent.Finish{Outcome: m.outcome, Problems: m.problems}})
	if err != nil {
		m.cutOff(err)
		return
	}
	if m.result = reply.Recording; m.result == nil {
		m.cutOff(errors.New("the agent does not say what became of it"))
		return
	}
	if m.folder == nil {
		m.result.Tape = inVolume(m.at, m.result.Tape)
	}
	if reply.Problem != nil {
		m.finished = reply.Problem
	}
}

// cutOff is the end of a recording whose agent is gone. What was written is in the
// volume, beside the tape's place. m.mu is held.
func (m *mountedTape) cutOff(err error) {
	if m.folder != nil {
		m.problems = append(m.problems, "its end is missing: "+err.Error())
		return
	}
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

func (m *mountedTape) Finish(how recording.Outcome) (*recording.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.folder != nil && m.result != nil {
		return m.folder.Place(m.result, how)
	}
	if m.folder != nil {
		return m.takeBack(how)
	}
	if m.result == nil {
		m.cutOff(errors.New("the agent is gone"))
	}
	return m.result, m.finished
}

// takeBack ends the recording in a folder whose agent is gone. m.mu is held.
func (m *mountedTape) takeBack(how recording.Outcome) (*recording.Result, error) {
	if err := m.folder.Resume(); err != nil {
		return nil, err
	}
	for _, p := range m.problems {
		m.folder.AddProblem(p)
	}
	return m.folder.Finish(how)
}

// Discard drops a recording that never began. That in a volume the agent drops when it
// ends.
func (m *mountedTape) Discard() error {
	if m.folder == nil {
		return nil
	}
	return os.RemoveAll(m.folder.Folder())
}

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
