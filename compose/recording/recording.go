// Package recording writes a tape beside its place, and puts it there when it is whole
// and not poorer than what is there. It runs where the tape's folder is.
package recording

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A Result is what became of a recording.
type Result struct {
	// Tape is the folder that it is in.
	Tape string
	// Kept is set where an older tape was left in its place because this
	// recording is not good; this one is in Tape, beside it, unless Dropped is set:
	// then there was nothing on it. Worth tells what there was.
	Kept     bool
	Dropped  bool
	Worth    tape.Worth
	Complete bool
	Problems []string // why it is not complete
}

// A Pending is a tape that is being written, beside its place. A nil one
// takes everything and keeps nothing.
type Pending struct {
	dir, tmp string // dir is empty where another process puts the tape in its place
	w        *tape.Writer

	mu       sync.Mutex
	problems []string
	err      error
	fail     chan struct{} // closed when the tape can't be written any more
}

// Create makes the tape that will be put at dir. What an earlier
// recording left beside it is replaced.
func Create(dir string, m tape.Manifest) (*Pending, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	tmp, err := Path(dir)
	if err != nil {
		return nil, err
	}
	p := &Pending{dir: dir, tmp: tmp, fail: make(chan struct{})}
	if err := p.clear(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, FileError("choose another folder with --tape", "make the folder for the tape: %w", err)
	}
	if p.w, err = tape.Create(p.tmp, m); err != nil {
		return nil, FileError("choose another folder with --tape", "make the tape: %w", err)
	}
	return p, nil
}

// Path is where a tape is recorded before it takes its place.
func Path(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	return dir + ".new", err
}

// clear removes a recording that an earlier session left beside the tape, and
// nothing else.
func (p *Pending) clear() error {
	entries, err := os.ReadDir(p.tmp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return FileError("move it away, or choose another folder with --tape", "look at %s: %w", p.tmp, err)
	}
	if _, err := os.Stat(filepath.Join(p.tmp, "tape.yaml")); err != nil && len(entries) > 0 {
		return event.Problemf(event.Usage, "move it away, or choose another folder with --tape", "%s is in the way, and it is not a tape", p.tmp)
	}
	return os.RemoveAll(p.tmp)
}

func (p *Pending) Apply(rec tape.Record) {
	if p == nil {
		return
	}
	if rec.Kind == tape.NoteRecord {
		if n, err := rec.Note(); err == nil && n.Problem != "" {
			p.AddProblem(n.Problem)
		}
	}
	if err := p.w.Apply(rec); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.err == nil {
			p.err = &event.Problem{Kind: event.Environment, Err: fmt.Errorf("write the tape: %w", err), Next: "check the space and the permissions there"}
			close(p.fail)
		}
	}
}

// AddProblem marks the recording incomplete.
func (p *Pending) AddProblem(text string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, text)
}

// Failed is closed when the tape can't be written any more; Err tells why.
func (p *Pending) Failed() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.fail
}

func (p *Pending) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// An Outcome is how what was recorded went.
type Outcome string

const (
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed" // or was interrupted: an older tape is not replaced
)

// OutcomeOf is the outcome of what ended with err.
func OutcomeOf(err error) Outcome {
	if err != nil {
		return Failed
	}
	return Succeeded
}

// Finish closes the tape and puts it in its place.
func (p *Pending) Finish(how Outcome) (*Result, error) {
	return p.Place(p.close(), how)
}

// Leave ends the writing and not the recording, which another process goes on with.
func (p *Pending) Leave() error { return p.w.Leave() }

// Resume goes on with a recording that another process left.
func (p *Pending) Resume() (err error) {
	p.w, err = tape.Resume(p.tmp)
	return err
}

// ResumeIn goes on with the recording in tmp, which another process has begun and will
// put in its place; its files are owner's.
func ResumeIn(tmp string, owner *tape.Owner) (*Pending, error) {
	p := &Pending{tmp: tmp, fail: make(chan struct{})}
	var err error
	if p.w, err = tape.ResumeAs(tmp, owner); err != nil {
		return nil, FileError("choose another folder with --tape", "go on with the tape: %w", err)
	}
	return p, nil
}

// Folder is where the tape is recorded.
func (p *Pending) Folder() string { return p.tmp }

// close closes the tape.
func (p *Pending) close() *Result {
	result := &Result{}
	closeErr := p.w.Close(func(m *tape.Manifest) {
		for _, problem := range p.problems {
			if !slices.Contains(m.Problems, problem) {
				m.Problems = append(m.Problems, problem)
			}
		}
		if p.err != nil {
			m.Problems = append(m.Problems, p.err.Error())
		}
		m.Complete = len(m.Problems) == 0
		result.Complete, result.Problems = m.Complete, m.Problems
	})
	if closeErr != nil {
		result.Complete = false
		result.Problems = append(result.Problems, closeErr.Error())
	}
	return result
}

// Place puts a tape that is closed in its place.
func (p *Pending) Place(result *Result, how Outcome) (*Result, error) {
	if result.Tape = p.dir; p.dir == "" {
		return result, nil
	}
	result.Worth = tape.WorthOf(p.tmp)
	if poorer := result.Worth < tape.WorthOf(p.dir); poorer || (how != Succeeded || !result.Complete) && isFolderWithContent(p.dir) {
		result.Tape, result.Kept = p.tmp, true
		if poorer && result.Worth == tape.Nothing && result.Complete {
			result.Tape, result.Dropped = p.dir, true
			return result, os.RemoveAll(p.tmp)
		}
		return result, nil
	}
	if err := tape.Replace(p.tmp, p.dir); err != nil {
		result.Tape, result.Kept = p.tmp, true
		return result, FileError("it is kept at "+p.tmp, "put the tape in its place: %w", err)
	}
	return result, nil
}

// Discard removes a recording that never began.
func (p *Pending) Discard() error {
	p.w.Close(nil)
	if p.dir == "" {
		return nil
	}
	return os.RemoveAll(p.tmp)
}

// FileError is an error with a file that a flag names: the user's choice, unless
// the system does not let it be read or written.
func FileError(next, format string, args ...any) *event.Problem {
	e := event.Problemf(event.Usage, next, format, args...)
	for _, cause := range []error{fs.ErrPermission, syscall.EROFS, syscall.ENOSPC, syscall.EIO} {
		if errors.Is(e.Err, cause) {
			e.Kind = event.Environment
		}
	}
	return e
}

func isFolderWithContent(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}
