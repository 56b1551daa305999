package tape

import (
	"errors"
	"io"
	"os"

	"github.com/wiretape/wiretape/httpstream"
)

// maxHeldBody is how long a call's request body is at most that is held in memory, in
// bytes. A longer one is read again from its file when it is asked for.
const maxHeldBody = 1 << 10

// leaveBody forgets a long request body of a call: what a tape takes in memory does not
// grow with its bodies. Cases are few, and sent.
func (x *Exchange) leaveBody() {
	if b := &x.Request.Body; x.Kind == Call && len(b.Data) > maxHeldBody {
		b.Data, b.InFile = nil, true
	}
}

// RequestBody returns the request's body unless that is in the stream; nil if it had
// none. An error is a *FormatError.
func (x *Exchange) RequestBody() ([]byte, error) {
	if !x.Request.Body.InFile {
		return x.Request.Body.Data, nil
	}
	again, err := x.readAgain()
	if err != nil {
		return nil, err
	}
	if b := &again.Request.Body; b.SHA256 == x.Request.Body.SHA256 {
		return b.Data, nil
	}
	return nil, x.changed()
}

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
	again, err := x.readAgain()
	switch {
	case err != nil:
		return nil, err
	case again.LinesAbove != x.LinesAbove:
		return nil, x.changed()
	}
	return again.Lines, nil
}

// readAgain reads the exchange from its file.
func (x *Exchange) readAgain() (*Exchange, error) {
	data, err := os.ReadFile(x.File)
	if err != nil {
		return nil, &FormatError{File: x.File, Msg: err.Error(), Hint: "restore the file, or record the tape again", Err: err}
	}
	if again, ok := (&quickReader{}).decode(data, x.File); ok {
		return again, nil
	}
	return decodeExchange(data, x.File)
}

func (x *Exchange) changed() error {
	return &FormatError{File: x.File, Msg: "was changed since the tape was opened", Hint: "start again with the tape as it is now"}
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
		case errors.Is(err, io.EOF):
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
