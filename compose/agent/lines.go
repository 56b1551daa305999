package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// maxLine bounds one line of the talk; the longest carry one chunk of a body.
const maxLine = 64 << 20

// lineWriter writes JSON lines from several goroutines, each line in one write.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
	// redact takes the secrets out of what is sent; nil stands for the default rules.
	redact *tape.Redactor
}

// raw writes a line that is JSON already and ends in a line feed.
func (lw *lineWriter) raw(line []byte) error {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	_, err := lw.w.Write(line)
	return err
}

func (lw *lineWriter) send(v any) error {
	if m, ok := v.(FromAgent); ok {
		m.redact(lw.redact)
		v = m
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return lw.raw(append(line, '\n'))
}

// lineReader reads lines of any length up to maxLine.
type lineReader struct {
	r *bufio.Reader
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next line with its line feed; it is valid until the next call.
func (lr *lineReader) next() ([]byte, error) {
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
