package compose

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
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

// rescue puts what the agent of a killed session still held on the tape that the
// session was recording, and says so.
func (s *Session) rescue(ctx context.Context) error {
	w, err := s.cutOffTape()
	if w == nil || err != nil {
		return err
	}
	n, err := s.applyUnsaved(ctx, w)
	cerr := w.Close(func(m *tape.Manifest) {
		m.Problems = append(m.Problems, "wiretape was killed while it recorded")
		m.Complete = false
	})
	if err = errors.Join(err, cerr); err != nil {
		return fmt.Errorf("put what the agent still held on the tape %s: %w", s.state.Recording, err)
	}
	if n > 0 {
		s.opt.progress(Info, fmt.Sprintf("what the agent still held of the recording is on the tape %s", s.state.Recording), "")
	}
	return nil
}

// cutOffTape is the tape that the session was recording, if that is on this host
// and nobody writes it any more; nil otherwise.
func (s *Session) cutOffTape() (*tape.Writer, error) {
	if here, alive := s.state.cli(); !here || alive || s.state.Recording == "" {
		return nil, nil
	}
	w, err := tape.Resume(s.state.Recording)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return w, err
}

func (s *Session) applyUnsaved(ctx context.Context, w *tape.Writer) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, rescuePatience)
	defer cancel()
	content, err := s.unsaved(ctx)
	if content == nil || err != nil {
		return 0, err
	}
	defer content.Close()
	files := tar.NewReader(content)
	if _, err := files.Next(); err != nil {
		return 0, err
	}
	return applyRecords(bufio.NewReaderSize(files, 256<<10), w)
}

// unsaved is the agent's file, as a tar archive, once the agent has written it
// down; nil if it had nothing. Of an agent that was killed meanwhile it is what there is.
func (s *Session) unsaved(ctx context.Context) (io.ReadCloser, error) {
	for {
		c, err := s.engine.ContainerInspect(ctx, s.state.agent())
		if err != nil {
			return nil, ignoreMissing(err)
		}
		running := c.State != nil && c.State.Running
		names := []string{agent.UnsavedFile}
		if !running {
			names = append(names, agent.UnsavedPart)
		}
		for _, name := range names {
			content, _, err := s.engine.CopyFromContainer(ctx, s.state.agent(), path.Join(agent.UnsavedDir, name))
			if err == nil {
				return content, nil
			}
			if ignoreMissing(err) != nil {
				return nil, err
			}
		}
		if !running {
			return nil, nil
		}
		if pause(ctx, pollInterval) != nil {
			return nil, errors.New("the agent does not write down what it holds")
		}
	}
}

// applyRecords writes the records of lines that the agent meant to send. Half a
// line at the end is what a full disk left.
func applyRecords(lines *bufio.Reader, w *tape.Writer) (n int, err error) {
	d := json.NewDecoder(lines)
	for {
		var m agent.FromAgent
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return n, nil
		case err != nil:
			return n, err
		case m.Record == nil:
			continue
		}
		if err := w.Apply(*m.Record); err != nil {
			return n, err
		}
		n++
	}
}
