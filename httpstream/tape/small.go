package tape

import (
	"io"
	"os"

	"github.com/wiretape/wiretape/httpstream"
)

// leaveLines forgets the lines of a small answer, which are read again from the file
// when they are asked for: what a tape takes in memory does not grow with its bodies.
// Where the answer has another length than its head says, it returns that.
func (x *Exchange) leaveLines() (edited int64, ok bool) {
	lines := x.Lines
	x.Lines = nil
	length, ok := contentLength(x)
	if lines == nil || !ok {
		return 0, false
	}
	size, how, err := answerSize(&StreamReader{left: lines, version: Version})
	return size, err == nil && how == httpstream.EOF && size != length
}

// loadLines returns the lines of a small answer.
func (x *Exchange) loadLines() ([]byte, error) {
	if !x.linesInFile() {
		return x.Lines, nil
	}
	data, err := os.ReadFile(x.File)
	if err != nil {
		return nil, &FormatError{File: x.File, Msg: err.Error(), Hint: "restore the file, or record the tape again", Err: err}
	}
	again, err := decodeExchange(data, x.File)
	if err != nil {
		return nil, err
	}
	if again.LinesAbove != x.LinesAbove {
		return nil, &FormatError{File: x.File, Msg: "was changed since the tape was opened", Hint: "start again with the tape as it is now"}
	}
	return again.Lines, nil
}

// smallStream opens the lines of a small answer, in a block that has the file.
func (t *Tape) smallStream(x *Exchange) (*StreamReader, error) {
	s := &StreamReader{name: x.File, line: x.LinesAbove, version: t.Manifest.Version}
	block := t.blocks.take()
	if data, ok := readQuickly(x.File, block[:]); ok {
		if s.left, ok = quickLines(data, x.LinesAbove); ok {
			s.blocks, s.block = &t.blocks, block
			return s, nil
		}
	}
	t.blocks.Put(block)
	var err error
	if s.left, err = x.loadLines(); err != nil {
		return nil, err
	}
	return s, nil
}

// answerSize is how many bytes a recorded answer's body has, and how it ended.
func answerSize(s *StreamReader) (size int64, how httpstream.End, err error) {
	for {
		l, err := s.Next()
		switch {
		case err == io.EOF:
			return size, how, nil
		case err != nil:
			return 0, "", err
		case l.End != nil:
			how = l.End.How
		case !l.FromClient:
			size += int64(len(l.Data))
		}
	}
}
