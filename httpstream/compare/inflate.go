package compare

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
)

// A codec undoes a Content-Encoding as bytes come. It runs as a coroutine, not
// beside the caller: nothing happens outside of write and close.
type codec struct {
	in   []byte
	eof  bool
	next func() ([]byte, bool)
	stop func()
	err  error
}

// newCodec returns nil where there is nothing to undo; ok is false for an
// encoding that can't be undone here, whose bytes are compared as they are.
func newCodec(encoding string) (c *codec, ok bool) {
	var open func(io.Reader) (io.ReadCloser, error)
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return nil, true
	case "gzip", "x-gzip":
		open = func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }
	case "deflate":
		open = zlib.NewReader // RFC 9110 section 8.4.1.2: the zlib format
	default:
		return nil, false
	}
	c = &codec{}
	c.next, c.stop = iter.Pull(c.run(open))
	return c, true
}

// codecOf is that of an answer's body. An answer without one has a
// Content-Encoding only to say what another answer would have.
func codecOf(method string, head *httpstream.ResponseHead) (c *codec, ok bool) {
	if bodiless(method, head.Status) {
		return nil, true
	}
	return newCodec(head.Header.Get("Content-Encoding"))
}

var errStopped = errors.New("stopped")

// run yields what it decodes, and nil when it needs more input.
func (c *codec) run(open func(io.Reader) (io.ReadCloser, error)) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		stopped := false
		r, err := open(readFunc(func(p []byte) (int, error) {
			for len(c.in) == 0 {
				if c.eof {
					return 0, io.EOF
				}
				if stopped || !yield(nil) {
					stopped = true
					return 0, errStopped
				}
			}
			n := copy(p, c.in)
			c.in = c.in[n:]
			return n, nil
		}))
		buf := make([]byte, 16<<10)
		for err == nil && !stopped {
			var n int
			if n, err = r.Read(buf); n > 0 && !stopped && !yield(buf[:n]) {
				return
			}
		}
		if err == io.EOF && r == nil {
			err = nil // an empty body
		}
		if err != nil && err != io.EOF && !stopped {
			c.err = err
		}
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// write decodes p and passes on what that gives, which is valid until out returns.
func (c *codec) write(p []byte, out func([]byte)) error {
	c.in = p
	return c.drain(out)
}

func (c *codec) drain(out func([]byte)) error {
	for {
		b, more := c.next()
		switch {
		case !more && c.err != nil:
			return fmt.Errorf("it can't be decoded: %w", c.err)
		case !more && len(c.in) > 0:
			return errors.New("bytes follow the end of the encoded body")
		case !more || b == nil:
			return nil
		}
		out(b)
	}
}

// close decodes what is left; an encoded body that is cut off is an error.
func (c *codec) close(out func([]byte)) error {
	c.eof = true
	defer c.stop()
	return c.drain(out)
}
