package body

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// A Decoder undoes a Content-Encoding as bytes come. It runs as a coroutine, not
// beside the caller: nothing happens outside of write and close.
type Decoder struct {
	in   []byte
	eof  bool
	next func() ([]byte, bool)
	stop func()
	err  error
}

// NewDecoder returns nil where there is nothing to undo; ok is false for a
// Content-Encoding that can't be undone here.
func NewDecoder(encoding string) (d *Decoder, ok bool) {
	open, ok := opener(encoding)
	if open == nil {
		return nil, ok
	}
	d = &Decoder{}
	d.next, d.stop = iter.Pull(d.run(open))
	return d, true
}

// opener is how a Content-Encoding is undone (RFC 9110 section 8.4.1); nil where
// there is nothing to undo, and ok is false for one that is not known.
func opener(encoding string) (open func(io.Reader) (io.ReadCloser, error), ok bool) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return nil, true
	case "gzip", "x-gzip":
		return func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }, true
	case "deflate":
		return zlib.NewReader, true // RFC 9110 section 8.4.1.2: the zlib format
	}
	return nil, false
}

// Decode undoes the Content-Encoding of a whole body. It returns nil for one that
// has none, or that is unknown, broken, or larger than limit when decoded.
func Decode(encoding string, data []byte, limit int64) []byte {
	open, _ := opener(encoding)
	if open == nil {
		return nil
	}
	r, err := open(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	decoded, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil || int64(len(decoded)) > limit {
		return nil
	}
	return decoded
}

var errStopped = errors.New("stopped")

// run yields what it decodes, and nil when it needs more input.
func (d *Decoder) run(open func(io.Reader) (io.ReadCloser, error)) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		stopped := false
		r, err := open(readFunc(func(p []byte) (int, error) {
			for len(d.in) == 0 {
				if d.eof {
					return 0, io.EOF
				}
				if stopped || !yield(nil) {
					stopped = true
					return 0, errStopped
				}
			}
			n := copy(p, d.in)
			d.in = d.in[n:]
			return n, nil
		}))
		buf := make([]byte, 16<<10)
		for err == nil && !stopped {
			var n int
			if n, err = r.Read(buf); n > 0 && !stopped && !yield(buf[:n]) {
				return
			}
		}
		if errors.Is(err, io.EOF) && r == nil {
			err = nil // an empty body
		}
		if err != nil && !errors.Is(err, io.EOF) && !stopped {
			d.err = err
		}
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// Write decodes p and passes on what that gives, which is valid until out returns.
func (d *Decoder) Write(p []byte, out func([]byte)) error {
	d.in = p
	return d.drain(out)
}

func (d *Decoder) drain(out func([]byte)) error {
	for {
		b, more := d.next()
		switch {
		case !more && d.err != nil:
			return fmt.Errorf("it can't be decoded: %w", d.err)
		case !more && len(d.in) > 0:
			return errors.New("bytes follow the end of the encoded body")
		case !more || b == nil:
			return nil
		}
		out(b)
	}
}

// Close decodes what is left; an encoded body that is cut off is an error.
func (d *Decoder) Close(out func([]byte)) error {
	d.eof = true
	defer d.stop()
	return d.drain(out)
}

// Stop gives up on what is left. It may be called at any time, and more than once.
func (d *Decoder) Stop() { d.stop() }
