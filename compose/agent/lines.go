package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// maxLine bounds one line of the talk; the longest carry one chunk of a body.
const maxLine = 64 << 20

// LineWriter writes JSON lines from several goroutines, each line in one write.
type LineWriter struct {
	mu sync.Mutex
	W  io.Writer
	// redact takes the secrets out of what is sent; nil stands for the default rules.
	Redact *tape.Redactor
}

// Raw writes a line that is JSON already and ends in a line feed.
func (lw *LineWriter) Raw(line []byte) error {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	_, err := lw.W.Write(line)
	return err
}

// Notice tells the user of something.
func (lw *LineWriter) Notice(n event.Notice) error {
	return lw.Send(FromAgent{Event: &event.Event{Notice: &n}})
}

func (lw *LineWriter) Send(v any) error {
	if m, ok := v.(FromAgent); ok {
		m.redact(lw.Redact)
		v = m
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return lw.Raw(append(line, '\n'))
}

// LineReader reads lines of any length up to maxLine.
type LineReader struct {
	r *bufio.Reader
}

func NewLineReader(r io.Reader) *LineReader {
	return &LineReader{bufio.NewReaderSize(r, 64<<10)}
}

// Next returns the next line with its line feed; it is valid until the next call.
func (lr *LineReader) Next() ([]byte, error) {
	line, err := lr.r.ReadSlice('\n')
	if err == nil {
		return line, nil
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		return nil, err
	}
	long := append([]byte(nil), line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = lr.r.ReadSlice('\n')
		if long = append(long, line...); len(long) > maxLine {
			return nil, fmt.Errorf("a line is longer than %d MiB", maxLine>>20)
		}
	}
	if err != nil {
		return nil, err
	}
	return long, nil
}
