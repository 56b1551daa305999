//go:build linux

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	roleSmall = "small"
	roleLimit = "limit"
	// smallPath is what small answers are asked for at, before their number.
	smallPath = "/v1/items/"
)

// smallBody is an answer's body: 175 bytes of JSON.
func smallBody(number string) string {
	body := fmt.Sprintf(`{"id":"item-%s","object":"item","created":1764000000,"owner":"bench","state":"ready","tags":["a","b","c"],"price":{"amount":1299,"currency":"EUR"},"note":"`, number)
	return body + strings.Repeat("-", 175-len(body)-2) + `"}`
}

// smallAnswer is a whole answer, in which the number stands at a place.
func smallAnswer(number string) (answer []byte, at int) {
	body := smallBody(number)
	answer = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return answer, bytes.Index(answer, []byte("item-")) + len("item-")
}

// runSmall is the origin of small answers: one thread that finds the number in a
// request, sets it in an answer made before, and writes that. It does as little
// as can be, so that what is measured is what stands in front of it.
func runSmall(args []string) error {
	flags := flag.NewFlagSet(roleSmall, flag.ContinueOnError)
	var s serverFlags
	s.add(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	l, err := listen(s.listen)
	if err != nil {
		return err
	}
	file, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return err
	}
	o := &smallOrigin{listener: int(file.Fd()), conns: make(map[int]*smallConn)}
	o.answer, o.at = smallAnswer(strings.Repeat("0", digits))
	if o.poll, err = newPoller(); err != nil {
		return err
	}
	if err := errors.Join(unix.SetNonblock(o.listener, true), o.poll.add(o.listener)); err != nil {
		return err
	}
	return o.run()
}

type smallOrigin struct {
	listener int
	poll     *poller
	conns    map[int]*smallConn
	answer   []byte
	at       int
}

// A smallConn holds what came of a request.
type smallConn struct {
	buf [8 << 10]byte
	n   int
}

func (o *smallOrigin) run() error {
	for {
		ready, err := o.poll.wait(-1)
		if err != nil {
			return err
		}
		for _, e := range ready {
			if int(e.Fd) == o.listener {
				if err := o.accept(); err != nil {
					return err
				}
				continue
			}
			if !o.serve(int(e.Fd)) {
				delete(o.conns, int(e.Fd))
				unix.Close(int(e.Fd))
			}
		}
	}
}

func (o *smallOrigin) accept() error {
	for {
		fd, _, err := unix.Accept4(o.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.EINTR || err == unix.ECONNABORTED:
			continue
		case err != nil:
			return os.NewSyscallError("accept", err)
		}
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		o.conns[fd] = &smallConn{}
		if err := o.poll.add(fd); err != nil {
			return err
		}
	}
}

// serve reports whether the connection goes on.
func (o *smallOrigin) serve(fd int) bool {
	c := o.conns[fd]
	n, err := unix.Read(fd, c.buf[c.n:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return true
	}
	if err != nil || n == 0 || c.n+n == len(c.buf) {
		return false
	}
	c.n += n
	got := c.buf[:c.n]
	if !bytes.HasSuffix(got, headEnd) {
		return true
	}
	c.n = 0
	line := got[:bytes.IndexByte(got, '\r')]
	number := line[:bytes.LastIndexByte(line, ' ')]
	if len(number) < digits {
		return false
	}
	copy(o.answer[o.at:], number[len(number)-digits:])
	return writeAll(fd, o.answer) == nil
}

// runLimit is net/http with the answers of a replay in a map: what a server in Go
// can do at the most that has the same to say.
func runLimit(args []string) error {
	flags := flag.NewFlagSet(roleLimit, flag.ContinueOnError)
	distinct := flags.Int("distinct", 1, "how many answers there are")
	if err := flags.Parse(args); err != nil {
		return err
	}
	bodies := make(map[string][]byte, *distinct)
	for n := range *distinct {
		number := fmt.Sprintf("%0*d", digits, n)
		bodies[smallPath+number] = []byte(smallBody(number))
	}
	var s serverFlags
	return s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := bodies[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	}))
}
