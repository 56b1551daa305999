package session

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// rescuePatience is how long an agent may take to write down what it holds when
// its CLI is gone.
const rescuePatience = 25 * time.Second

// Rescue puts what the agent of a killed session still held on the tape that the
// session was recording, which is in dir, and reports whether that was anything.
func Rescue(ctx context.Context, e Engine, agentName, dir string) (rescued bool, err error) {
	// An agent that writes the tape itself is still at it; that it does not end is said
	// where what it holds is asked for.
	waiting, cancel := context.WithTimeout(ctx, rescuePatience)
	_ = waitForEnd(waiting, e, agentName)
	cancel()
	w, err := cutOffTape(dir)
	if w == nil || err != nil {
		return false, err
	}
	n, err := applyUnsaved(ctx, e, agentName, w)
	cerr := w.Close(func(m *tape.Manifest) {
		m.Problems = append(m.Problems, "wiretape was killed while it recorded")
		m.Complete = false
	})
	if err = errors.Join(err, cerr); err != nil {
		return false, fmt.Errorf("put what the agent still held on the tape %s: %w", dir, err)
	}
	return n > 0, nil
}

// cutOffTape is the tape that was being recorded in dir; nil if there is none.
func cutOffTape(dir string) (*tape.Writer, error) {
	w, err := tape.Resume(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return w, err
}

func applyUnsaved(ctx context.Context, e Engine, agentName string, w *tape.Writer) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, rescuePatience)
	defer cancel()
	content, err := unsaved(ctx, e, agentName)
	if content == nil || err != nil {
		return 0, err
	}
	defer content.Close()
	files := tar.NewReader(content)
	if _, err := files.Next(); err != nil {
		return 0, err
	}
	return applyRecords(files, w)
}

// unsaved is the agent's file, as a tar archive, once the agent has written it
// down; nil if it had nothing. Of an agent that was killed meanwhile it is what there is.
func unsaved(ctx context.Context, e Engine, agentName string) (io.ReadCloser, error) {
	for {
		c, err := e.ContainerInspect(ctx, agentName)
		if err != nil {
			return nil, IgnoreMissing(err)
		}
		running := c.State != nil && c.State.Running
		names := []string{agent.UnsavedFile}
		if !running {
			names = append(names, agent.UnsavedPart)
		}
		for _, name := range names {
			content, _, err := e.CopyFromContainer(ctx, agentName, path.Join(agent.UnsavedDir, name))
			if err == nil {
				return content, nil
			}
			if IgnoreMissing(err) != nil {
				return nil, err
			}
		}
		if !running {
			return nil, nil
		}
		if Pause(ctx, pollInterval) != nil {
			return nil, errors.New("the agent does not write down what it holds")
		}
	}
}

// waitForEnd waits until an agent whose CLI is gone has ended, which is when the tape
// that it writes itself is whole.
func waitForEnd(ctx context.Context, e Engine, agentName string) error {
	for {
		c, err := e.ContainerInspect(ctx, agentName)
		if err != nil {
			return IgnoreMissing(err)
		}
		if c.State == nil || !c.State.Running {
			return nil
		}
		if err := Pause(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// applyRecords writes the records that the agent meant to send. Half a record at the
// end is what a full disk left.
func applyRecords(in io.Reader, w *tape.Writer) (n int, err error) {
	lines := agent.NewLineReader(in)
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		rec, err := tape.ParseRecord(line)
		if err != nil {
			return n, err
		}
		if err := w.Apply(rec); err != nil {
			return n, err
		}
		n++
	}
}
