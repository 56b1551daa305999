package tape

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
)

// maxLine is the longest line that a StreamReader takes: far above what one
// chunk of a recording makes, and a bound on what a broken file may cost.
const maxLine = 256 << 20

// A StreamReader reads the lines of one stream, one in memory at a time.
type StreamReader struct {
	file    *os.File // nil where the lines are in the exchange file
	name    string
	version int // of the tape
	in      *bufio.Reader
	line    int
	raw     []byte
	data    []byte
	ended   bool
	failed  error
}

// Stream opens the stream of an exchange of the tape. An exchange that has none
// gives a reader without lines.
func (t *Tape) Stream(x *Exchange) (*StreamReader, error) {
	if x.Lines != nil {
		s := &StreamReader{name: x.File, line: x.LinesAbove, in: bufio.NewReaderSize(bytes.NewReader(x.Lines), min(len(x.Lines), 64<<10))}
		s.version = t.Manifest.Version
		return s, nil
	}
	if x.Stream == "" {
		return &StreamReader{}, nil
	}
	if !validStream(x.Stream) {
		return nil, &FormatError{File: x.File, Msg: "stream " + x.Stream + ": expected a file in " + streamsDir + "/"}
	}
	name := filepath.Join(t.Dir, filepath.FromSlash(x.Stream))
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &FormatError{
			File: name, Msg: "the stream of " + x.File + " is missing",
			Hint: "restore the file, or record the tape again", Err: err,
		}
	}
	if err != nil {
		return nil, err
	}
	s := newStreamReader(f, name)
	s.file, s.version = f, t.Manifest.Version
	return s, nil
}

func newStreamReader(r io.Reader, name string) *StreamReader {
	return &StreamReader{name: name, in: bufio.NewReaderSize(r, 64<<10)}
}

// Next returns the next line; its data is valid until the call after it. Behind
// the end line comes io.EOF. A file that stops before its end line gives an error
// that is ErrTruncated. Errors are *FormatError and stay.
func (s *StreamReader) Next() (Line, error) {
	if s.failed != nil {
		return Line{}, s.failed
	}
	l, err := s.next()
	if err != nil {
		s.failed = err
	}
	return l, err
}

func (s *StreamReader) next() (Line, error) {
	if s.in == nil {
		return Line{}, io.EOF
	}
	raw, err := s.readRaw()
	whole := err == nil
	if err != nil && err != io.EOF {
		return Line{}, err
	}
	if s.ended {
		if len(raw) > 0 {
			return Line{}, s.errorf("a line follows the end line")
		}
		return Line{}, io.EOF
	}
	if len(raw) == 0 && !whole {
		return Line{}, s.truncated("there is no end line: the recording was cut off")
	}
	l, grown, err := parseLine(raw, s.data)
	s.data = grown
	if !whole && (err != nil || l.End == nil) {
		return Line{}, s.truncated("the last line is half written: the recording was cut off")
	}
	if err != nil {
		return Line{}, s.errorf(err.Error())
	}
	if s.version < 2 && (l.Frame != nil || l.Compressed) {
		return Line{}, s.errorf(`has keys of a WebSocket message ("ws", "deflated"), which format 1 has not`)
	}
	s.ended = l.End != nil
	return l, nil
}

// readRaw reads one line without its line end; io.EOF means that it had none.
func (s *StreamReader) readRaw() ([]byte, error) {
	s.line++
	s.raw = s.raw[:0]
	for {
		part, err := s.in.ReadSlice('\n')
		if len(s.raw) == 0 && err == nil {
			return part[:len(part)-1], nil
		}
		s.raw = append(s.raw, part...)
		switch {
		case err == nil:
			return s.raw[:len(s.raw)-1], nil
		case len(s.raw) > maxLine:
			return nil, s.errorf("the line is longer than 256 MiB")
		case err == io.EOF:
			return s.raw, io.EOF
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

func (s *StreamReader) errorf(msg string) error {
	return &FormatError{File: s.name, Line: s.line, Msg: msg}
}

func (s *StreamReader) truncated(msg string) error {
	return &FormatError{
		File: s.name, Line: s.line, Msg: msg,
		Hint: "record the tape again, or remove the exchange", Err: ErrTruncated,
	}
}

// Line returns the number in its file of the line that Next returned last, from 1.
func (s *StreamReader) Line() int { return s.line }

// Lines ranges over the lines that are left; an error is the last pair.
func (s *StreamReader) Lines() iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		for {
			l, err := s.Next()
			if err == io.EOF || !yield(l, err) || err != nil {
				return
			}
		}
	}
}

// Close closes the file.
func (s *StreamReader) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
