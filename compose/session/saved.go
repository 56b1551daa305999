package session

import (
	"sync/atomic"
	"time"

	"github.com/wiretape/wiretape/compose/agent"
)

// savedEvery is how often, at the most, the agent is told how many records are on
// the tape. What it was not told of it holds in memory.
const savedEvery = 10 * time.Millisecond

// savedRecords counts the records that were written, and tells the agent.
type savedRecords struct {
	n    atomic.Int64
	more chan struct{} // has room for one
}

func (s *savedRecords) count() {
	s.n.Add(1)
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// tell runs until the agent is gone. It never holds up who reads what the agent says.
func (s *savedRecords) tell(l *Link) {
	for {
		select {
		case <-s.more:
		case <-l.done:
			return
		}
		if l.Send(agent.ToAgent{Saved: s.n.Load()}) != nil {
			return // the link's end says why
		}
		select {
		case <-time.After(savedEvery):
		case <-l.done:
			return
		}
	}
}
