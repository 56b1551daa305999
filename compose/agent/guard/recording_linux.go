package guard

import (
	"sync"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// cutOff is what a recording lacks that nobody ended.
const cutOff = "wiretape was killed while it recorded"

// writing is the recording that the agent writes itself, where it has the tape
// mounted. The guard does, because the worker may crash and the CLI may be killed.
type writing struct {
	mu       sync.Mutex
	tape     *recording.Pending // nil where the CLI writes, and once it is finished
	here     bool               // records are not the CLI's
	reported bool               // that it can't be written any more
}

func (w *writing) begin(r *agent.Recording) (err error) {
	if r == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.here = true
	if r.Begun {
		w.tape, err = recording.ResumeIn(r.Dir, r.Owner)
	} else {
		w.tape, err = recording.Create(r.Dir, r.Manifest)
	}
	return err
}

// take writes a line of the worker's if it is a record for the tape here. It tells
// once what keeps the tape from being written.
func (w *writing) take(line []byte) (taken bool, failed error) {
	if !agent.IsRecord(line) {
		return false, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.here || w.tape == nil {
		return w.here, nil
	}
	rec, err := tape.ParseRecord(line)
	if err != nil {
		w.tape.AddProblem(err.Error())
		return true, nil
	}
	w.tape.Apply(rec)
	if err := w.tape.Err(); err != nil && !w.reported {
		w.reported = true
		return true, err
	}
	return true, nil
}

// problem marks the recording incomplete.
func (w *writing) problem(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tape.AddProblem(text)
}

// finish puts the tape in its place as the CLI wants it.
func (w *writing) finish(f *agent.Finish) *agent.Reply {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tape == nil {
		return &agent.Reply{Error: "the agent records to no tape"}
	}
	for _, p := range f.Problems {
		w.tape.AddProblem(p)
	}
	result, err := w.tape.Finish(f.Outcome)
	w.tape = nil
	reply := &agent.Reply{Recording: result}
	if err != nil {
		reply.Problem = FatalOf(err)
	}
	return reply
}

// discard drops a recording that never began.
func (w *writing) discard() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tape == nil {
		return nil
	}
	err := w.tape.Discard()
	w.tape = nil
	return err
}

// end finishes a recording that the CLI did not: it is gone, or the agent must end.
func (w *writing) end() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tape == nil {
		return nil
	}
	w.tape.AddProblem(cutOff)
	_, err := w.tape.Finish(recording.Failed)
	w.tape = nil
	return err
}
