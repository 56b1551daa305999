package compose

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

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

// A recording is a tape that is being written, beside its place. A nil
// recording takes everything and keeps nothing.
type recording struct {
	dir, tmp string
	w        *tape.Writer

	mu       sync.Mutex
	problems []string
	err      error
	fail     chan struct{} // closed when the tape can't be written any more
}

// startRecording makes the tape that will be put at dir. What an earlier
// recording left beside it is replaced.
func startRecording(dir string, m tape.Manifest) (*recording, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	tmp, err := unfinished(dir)
	if err != nil {
		return nil, err
	}
	r := &recording{dir: dir, tmp: tmp, fail: make(chan struct{})}
	if err := r.clear(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fileError("choose another folder with --tape", "make the folder for the tape: %w", err)
	}
	if r.w, err = tape.Create(r.tmp, m); err != nil {
		return nil, fileError("choose another folder with --tape", "make the tape: %w", err)
	}
	return r, nil
}

// unfinished is where a tape is recorded before it takes its place.
func unfinished(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	return dir + ".new", err
}

// clear removes a recording that an earlier session left beside the tape, and
// nothing else.
func (r *recording) clear() error {
	entries, err := os.ReadDir(r.tmp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fileError("move it away, or choose another folder with --tape", "look at %s: %w", r.tmp, err)
	}
	if _, err := os.Stat(filepath.Join(r.tmp, "tape.yaml")); err != nil && len(entries) > 0 {
		return usage("move it away, or choose another folder with --tape", "%s is in the way, and it is not a tape", r.tmp)
	}
	return os.RemoveAll(r.tmp)
}

// manifest is what is known of a tape before it is recorded.
func (s *Session) manifest() tape.Manifest {
	m := s.opt.Manifest
	if m.Created.IsZero() {
		m.Created = time.Now()
	}
	if m.By == "" {
		m.By = s.opt.Version
	}
	m.Project, m.Services = s.state.Project, s.Services()
	return m
}

func (r *recording) apply(rec tape.Record) {
	if r == nil {
		return
	}
	if rec.Problem != "" {
		r.problem(rec.Problem)
	}
	if err := r.w.Apply(rec); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.err == nil {
			r.err = &Error{Kind: Environment, Err: fmt.Errorf("write the tape: %w", err), Hint: "check the space and the permissions there"}
			close(r.fail)
		}
	}
}

// problem marks the recording incomplete.
func (r *recording) problem(text string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, text)
}

// broken is closed when the tape can't be written any more; failure tells why.
func (r *recording) broken() <-chan struct{} {
	if r == nil {
		return nil
	}
	return r.fail
}

func (r *recording) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// finish closes the tape and puts it in its place. A recording that is not good
// does not replace an older tape.
func (r *recording) finish(good bool) (*Result, error) {
	result := &Result{Tape: r.dir}
	closeErr := r.w.Close(func(m *tape.Manifest) {
		for _, p := range r.problems {
			if !slices.Contains(m.Problems, p) {
				m.Problems = append(m.Problems, p)
			}
		}
		if r.err != nil {
			m.Problems = append(m.Problems, r.err.Error())
		}
		m.Complete = len(m.Problems) == 0
		result.Complete, result.Problems = m.Complete, m.Problems
	})
	if closeErr != nil {
		result.Complete = false
		result.Problems = append(result.Problems, closeErr.Error())
	}
	result.Worth = tape.WorthOf(r.tmp)
	if poorer := result.Worth < tape.WorthOf(r.dir); poorer || (!good || !result.Complete) && isFolderWithContent(r.dir) {
		result.Tape, result.Kept = r.tmp, true
		if poorer && result.Worth == tape.Nothing && result.Complete {
			result.Tape, result.Dropped = r.dir, true
			return result, os.RemoveAll(r.tmp)
		}
		return result, nil
	}
	if err := tape.Replace(r.tmp, r.dir); err != nil {
		result.Tape, result.Kept = r.tmp, true
		return result, fileError("it is kept at "+r.tmp, "put the tape in its place: %w", err)
	}
	return result, nil
}

// drop removes a recording that never began.
func (r *recording) drop() error {
	r.w.Close(nil)
	return os.RemoveAll(r.tmp)
}

func isFolderWithContent(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}
