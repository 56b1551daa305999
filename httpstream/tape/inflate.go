package tape

import (
	"compress/flate"
	"errors"
	"io"
	"iter"
)

const (
	// maxInflated is how much of one compressed message is made readable.
	maxInflated = 8 << 20
	// deflateWindow is how far compressed bytes refer back, at most (RFC 1951).
	deflateWindow = 32 << 10
)

// deflateTail ends a message for a reader: the empty block that its sender took
// off (RFC 7692 section 7.2.2), and an empty last block.
const deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

var errInflate = errors.New("the message can't be inflated")

// An inflater makes the messages of one direction readable that permessage-deflate
// compressed (RFC 7692), in the pieces in which they come.
type inflater struct {
	takeover bool   // messages refer back to those before
	window   []byte // the end of those
	lost     bool   // what they refer to is not known

	reader io.ReadCloser
	resume func() (struct{}, bool) // inflates what is in in; nil between messages
	stop   func()
	in     []byte
	last   bool // in is the end of the message
	out    []byte
	size   int
	err    error
}

// piece inflates the next bytes of a message. What it returns is valid until the
// next call, and may lag behind the bytes unless they are the last. It is false
// where the rest of the message can't be read.
func (d *inflater) piece(data []byte, last bool) ([]byte, bool) {
	if d.resume == nil {
		d.begin()
	}
	d.in, d.last, d.out = data, last, d.out[:0]
	if last {
		d.in = append(append(make([]byte, 0, len(data)+len(deflateTail)), data...), deflateTail...)
	}
	if d.err == nil {
		d.resume()
	}
	failed := d.err != nil && !errors.Is(d.err, io.EOF) || errors.Is(d.err, io.EOF) && !last
	if !failed && d.takeover {
		d.remember(d.out)
	}
	if failed {
		d.err, d.lost = errInflate, d.takeover
	}
	if last {
		d.close()
	}
	return d.out, !failed
}

func (d *inflater) begin() {
	d.err, d.size = nil, 0
	if d.lost {
		d.err = errInflate
	}
	d.resume, d.stop = iter.Pull(d.inflate)
}

// close forgets a message that may not have ended.
func (d *inflater) close() {
	if d.resume != nil {
		d.stop()
		d.resume, d.stop = nil, nil
	}
}

// inflate reads a message; it yields for more of it.
func (d *inflater) inflate(yield func(struct{}) bool) {
	src := &inflateSource{d, yield}
	if d.reader == nil {
		d.reader = flate.NewReaderDict(src, d.window)
	} else if err := d.reader.(flate.Resetter).Reset(src, d.window); err != nil {
		d.err = err
		return
	}
	buf := make([]byte, 4<<10)
	for {
		n, err := d.reader.Read(buf)
		d.out = append(d.out, buf[:n]...)
		if d.size += n; d.size > maxInflated {
			err = errInflate
		}
		if err != nil {
			d.err = err
			return
		}
	}
}

// remember keeps the end of what was inflated.
func (d *inflater) remember(b []byte) {
	d.window = append(d.window, b...)
	if n := len(d.window) - deflateWindow; n > 0 {
		d.window = append(d.window[:0], d.window[n:]...)
	}
}

// An inflateSource is what an inflater's reader reads, a byte at a time so that it
// takes nothing that is not there.
type inflateSource struct {
	d     *inflater
	yield func(struct{}) bool
}

// ReadByte implements io.ByteReader.
func (s *inflateSource) ReadByte() (byte, error) {
	for len(s.d.in) == 0 {
		if s.d.last || !s.yield(struct{}{}) {
			return 0, io.ErrUnexpectedEOF
		}
	}
	c := s.d.in[0]
	s.d.in = s.d.in[1:]
	return c, nil
}

// Read implements io.Reader.
func (s *inflateSource) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c, err := s.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = c
	return 1, nil
}
