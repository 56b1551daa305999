package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// maxLine bounds one line of the talk; the longest carry one chunk of a body.
const maxLine = 64 << 20

// maxKept is how much of a buffer is kept for the next long line, in bytes.
const maxKept = 1 << 20

// maxGathered is how much is gathered before it is written, in bytes.
const maxGathered = 64 << 10

// LineWriter writes JSON lines and records from several goroutines, each in one write.
type LineWriter struct {
	mu       sync.Mutex
	gathered []byte
	W        io.Writer
	// Redact takes the secrets out of what is sent; nil stands for the default rules.
	Redact *tape.Redactor
}

// Raw writes a line that is JSON already and ends in a line feed, or a record, behind
// what is gathered.
func (lw *LineWriter) Raw(line []byte) error {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	if len(lw.gathered) > 0 {
		lw.gathered = append(lw.gathered, line...)
		return lw.write()
	}
	_, err := lw.W.Write(line)
	return err
}

// Notice tells the user of something.
func (lw *LineWriter) Notice(n event.Notice) error {
	return lw.Send(FromAgent{Event: &event.Event{Notice: &n}})
}

// Gather has a line written, as by Raw, with the next Flush or earlier.
func (lw *LineWriter) Gather(line []byte) error {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	lw.gathered = append(lw.gathered, line...)
	if len(lw.gathered) < maxGathered {
		return nil
	}
	return lw.write()
}

// Flush writes what is gathered.
func (lw *LineWriter) Flush() error {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	if len(lw.gathered) == 0 {
		return nil
	}
	return lw.write()
}

// write writes what is gathered. lw.mu is held.
func (lw *LineWriter) write() error {
	_, err := lw.W.Write(lw.gathered)
	if lw.gathered = lw.gathered[:0]; cap(lw.gathered) > 4*maxGathered {
		lw.gathered = nil
	}
	return err
}

// Line makes v a line, without secrets.
func (lw *LineWriter) Line(v any) ([]byte, error) {
	if m, ok := v.(FromAgent); ok {
		m.redact(lw.Redact)
		v = m
	}
	line, err := json.Marshal(v)
	return append(line, '\n'), err
}

func (lw *LineWriter) Send(v any) error {
	line, err := lw.Line(v)
	if err != nil {
		return err
	}
	return lw.Raw(line)
}

// LineReader reads lines of any length up to maxLine, and records.
type LineReader struct {
	r    *bufio.Reader
	long []byte
}

func NewLineReader(r io.Reader) *LineReader {
	return &LineReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// IsRecord reports whether what Next returned is a record, for tape.ParseRecord.
func IsRecord(line []byte) bool { return tape.IsRecord(line) }

// More reports whether some of what follows has come already.
func (lr *LineReader) More() bool { return lr.r.Buffered() > 0 }

// Next returns the next line with its line feed, or the next record with its data; it
// is valid until the next call. A record that ends early gives io.ErrUnexpectedEOF.
func (lr *LineReader) Next() ([]byte, error) {
	line, err := lr.line()
	if err != nil || !tape.IsRecord(line) {
		return line, err
	}
	size, err := tape.RecordSize(line)
	if err != nil {
		return nil, err
	}
	head := len(line)
	lr.long = slices.Grow(append(lr.long[:0], line...), size)[:head+size]
	if _, err := io.ReadFull(lr.r, lr.long[head:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return lr.long, nil
}

func (lr *LineReader) line() ([]byte, error) {
	if cap(lr.long) > maxKept {
		lr.long = nil
	}
	line, err := lr.r.ReadSlice('\n')
	if err == nil {
		return line, nil
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		return nil, err
	}
	long := append(lr.long[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = lr.r.ReadSlice('\n')
		if long = append(long, line...); len(long) > maxLine {
			return nil, fmt.Errorf("a line is longer than %d MiB", maxLine>>20)
		}
	}
	lr.long = long
	if err != nil {
		return nil, err
	}
	return long, nil
}
