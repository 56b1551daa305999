package tape

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
)

// maxLine is the longest line that a StreamReader takes: far above what one
// chunk of a recording makes, and a bound on what a broken file may cost.
const maxLine = 256 << 20

// blockSize is how much of a stream is read at once, in bytes.
const blockSize = 64 << 10

// blocks are those of StreamReaders that were closed.
type blocks struct{ sync.Pool }

func (b *blocks) take() *[blockSize]byte {
	if block, ok := b.Get().(*[blockSize]byte); ok {
		return block
	}
	return new([blockSize]byte)
}

// A StreamReader reads the lines of one stream, one in memory at a time.
type StreamReader struct {
	in      io.Reader // nil once all of it is in left
	file    io.Closer // nil once it is closed
	blocks  *blocks   // may be nil
	block   *[blockSize]byte
	left    []byte // of the block, or of an exchange file
	none    bool   // the exchange has no stream
	name    string
	version int // of the tape
	line    int
	raw     []byte
	data    []byte
	ended   bool
	failed  error
}

// Stream opens the stream of an exchange of the tape. An exchange that has none
// gives a reader without lines.
func (t *Tape) Stream(x *Exchange) (*StreamReader, error) {
	if x.linesInFile() {
		return t.smallStream(x)
	}
	if x.Lines != nil {
		return &StreamReader{left: x.Lines, name: x.File, line: x.LinesAbove, version: t.Manifest.Version}, nil
	}
	if x.Stream == "" {
		return &StreamReader{none: true}, nil
	}
	if !validStream(x.Stream) {
		return nil, &FormatError{File: x.File, Msg: "stream " + x.Stream + ": expected a file in " + streamsDir + "/"}
	}
	name := filepath.Join(t.Dir, filepath.FromSlash(x.Stream))
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) && !t.Manifest.Complete {
		return nil, &FormatError{
			File: name, Msg: "the stream of " + x.File + " is missing: the recording was cut off",
			Hint: "record the tape again, or remove the exchange", Err: ErrTruncated,
		}
	}
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
	s.file, s.blocks, s.version = f, &t.blocks, t.Manifest.Version
	s.block = t.blocks.take()
	if err := s.fill(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func newStreamReader(r io.Reader, name string) *StreamReader {
	return &StreamReader{in: r, name: name}
}

// fill reads more, once nothing is left of what was read.
func (s *StreamReader) fill() error {
	if s.block == nil {
		s.block = new([blockSize]byte)
	}
	n, err := io.ReadFull(s.in, s.block[:])
	s.left = s.block[:n]
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		s.in, err = nil, nil
	}
	return err
}

// Small reports whether all that is left of the stream has been read from the
// disk, and is no longer than limit bytes.
func (s *StreamReader) Small(limit int) bool { return s.in == nil && len(s.left) <= limit }

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
	if s.none {
		return Line{}, io.EOF
	}
	raw, err := s.readRaw()
	whole := err == nil
	if err != nil && !errors.Is(err, io.EOF) {
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
		part, rest, ended := bytes.Cut(s.left, []byte{'\n'})
		s.left = rest
		if len(s.raw) == 0 && (ended || s.in == nil) {
			return part, eofUnless(ended)
		}
		s.raw = append(s.raw, part...)
		switch {
		case ended || s.in == nil:
			return s.raw, eofUnless(ended)
		case len(s.raw) > maxLine:
			return nil, s.errorf("the line is longer than 256 MiB")
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

func eofUnless(ended bool) error {
	if ended {
		return nil
	}
	return io.EOF
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
			if errors.Is(err, io.EOF) || !yield(l, err) || err != nil {
				return
			}
		}
	}
}

// Close closes the file. What Next returned is not valid any more.
func (s *StreamReader) Close() error {
	if s.block != nil && s.blocks != nil {
		s.blocks.Put(s.block)
	}
	s.block, s.left, s.in = nil, nil, nil
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
