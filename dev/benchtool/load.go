//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	roleLoad = "load"
	// digits is how many a request's number has in its path.
	digits = 8
	// maxLatencies is how many latencies a load reports.
	maxLatencies = 20_000
	// loadPatience is how long no answer may come.
	loadPatience = 15 * time.Second
)

// A load asks for small answers over kept connections; it comes as JSON on the
// stdin of a process of its own.
type load struct {
	Addr  string
	Conns int
	// Prefix stands before the request's number in the request line.
	Prefix string
	// First is the number of the first request, and Distinct how many there are
	// before they begin again.
	First, Distinct int
	// For is how long it goes on, and Count, where it is not 0, how many requests
	// there are at the most.
	For   time.Duration
	Count int
	// Rate is requests a second, evenly; 0 is as many as are answered.
	Rate float64
}

// A loaded is what became of a load.
type loaded struct {
	Requests int
	Took     time.Duration
	// Latencies are from a request's write, or from when it was due if no connection
	// was free, to the read of the answer's end. Of many, each n-th is kept.
	Latencies []time.Duration
	// Seconds is how many were answered in each second.
	Seconds []int
	// Again is how often the server closed a connection between two requests.
	Again int
}

func (l loaded) rate() float64 { return float64(l.Requests) / l.Took.Seconds() }

// runLoad does a load and writes what became of it as JSON.
func runLoad(in io.Reader, out io.Writer) error {
	var l load
	if err := json.NewDecoder(in).Decode(&l); err != nil {
		return err
	}
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	clk, err := newClock()
	if err != nil {
		return err
	}
	g := &loader{load: l, clock: clk, timer: -1}
	if err := g.run(); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(g.result())
}

// A loader does a load. It is used by one thread.
type loader struct {
	load
	clock clock
	poll  *poller
	timer int // wakes for the next request at a rate; -1 without
	conns []*loadConn
	byFD  map[int]*loadConn
	idle  []*loadConn

	began, end int64
	sent, done int
	latencies  []int64
	seconds    []int
	again      int
}

// A loadConn is a connection with at most one request under way.
type loadConn struct {
	fd      int
	request []byte
	number  []byte // in request
	in      answer
	since   int64
	busy    bool
}

func (g *loader) run() (err error) {
	if g.poll, err = newPoller(); err != nil {
		return err
	}
	defer g.poll.close()
	g.byFD = make(map[int]*loadConn, g.Conns)
	g.latencies = make([]int64, 0, 8<<20)
	defer func() {
		for _, c := range g.conns {
			unix.Close(c.fd)
		}
	}()
	for range g.Conns {
		c := &loadConn{fd: -1, in: answer{buf: make([]byte, 64<<10)}}
		c.request = fmt.Appendf(nil, "GET %s%0*d HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n\r\n", g.Prefix, digits, 0)
		at := len("GET ") + len(g.Prefix)
		c.number = c.request[at : at+digits]
		g.conns = append(g.conns, c)
		if err := g.open(c); err != nil {
			return err
		}
	}
	g.idle = append(g.idle, g.conns...)
	if g.Rate > 0 {
		if err := g.startTimer(); err != nil {
			return err
		}
	}
	g.began = g.clock.now()
	g.end = g.began + int64(g.For)
	return g.loop()
}

func (g *loader) open(c *loadConn) error {
	if c.fd >= 0 {
		delete(g.byFD, c.fd)
		unix.Close(c.fd)
	}
	var err error
	if c.fd, err = connect(g.Addr); err != nil {
		return err
	}
	g.byFD[c.fd] = c
	return g.poll.add(c.fd)
}

func (g *loader) startTimer() (err error) {
	if g.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	every := unix.NsecToTimespec(int64(float64(time.Second) / g.Rate))
	if err := unix.TimerfdSettime(g.timer, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil); err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	return g.poll.add(g.timer)
}

// over reports whether no further request is sent.
func (g *loader) over(now int64) bool {
	return now >= g.end || g.Count > 0 && g.sent >= g.Count
}

func (g *loader) loop() error {
	last := g.began
	for {
		now := g.clock.now()
		if err := g.fill(now); err != nil {
			return err
		}
		if g.over(now) && len(g.idle) == g.Conns {
			return nil
		}
		if now-last > int64(loadPatience) {
			return fmt.Errorf("%d of %d requests were not answered within %s", g.sent-g.done, g.sent, loadPatience)
		}
		ready, err := g.poll.wait(100)
		if err != nil {
			return err
		}
		for _, e := range ready {
			if int(e.Fd) == g.timer {
				var ticks [8]byte
				unix.Read(g.timer, ticks[:])
				continue
			}
			if err := g.read(g.byFD[int(e.Fd)]); err != nil {
				return err
			}
			last = g.clock.now()
		}
	}
}

// fill sends what is due on connections that are free.
func (g *loader) fill(now int64) error {
	for len(g.idle) > 0 && !g.over(now) {
		since := int64(0)
		if g.Rate > 0 {
			due := g.began + int64(float64(g.sent)*float64(time.Second)/g.Rate)
			if due > now {
				return nil
			}
			if len(g.idle) == 1 {
				since = due // others may be waiting for a connection
			}
		}
		c := g.idle[len(g.idle)-1]
		g.idle = g.idle[:len(g.idle)-1]
		if err := g.send(c, since); err != nil {
			return err
		}
	}
	return nil
}

// send asks for the next number. since, where set, is when it was due.
func (g *loader) send(c *loadConn, since int64) error {
	n := g.First + g.sent%g.Distinct
	for i := digits - 1; i >= 0; i-- {
		c.number[i] = byte('0' + n%10)
		n /= 10
	}
	g.sent++
	c.in.reset()
	c.busy = true
	if c.since = since; since == 0 {
		c.since = g.clock.now()
	}
	return writeAll(c.fd, c.request)
}

// read takes what came on a connection.
func (g *loader) read(c *loadConn) error {
	if c == nil {
		return nil
	}
	n, err := unix.Read(c.fd, c.in.room())
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil || n == 0:
		if c.busy {
			return fmt.Errorf("a connection ended within an answer: %w", errors.Join(os.NewSyscallError("read", err), io.ErrUnexpectedEOF))
		}
		g.again++
		return g.open(c)
	}
	done, err := c.in.add(n)
	if err != nil || !done {
		return err
	}
	now := g.clock.now()
	g.latencies = append(g.latencies, now-c.since)
	g.count(now)
	g.done++
	c.busy = false
	if g.Rate == 0 && !g.over(now) {
		return g.send(c, 0)
	}
	g.idle = append(g.idle, c)
	return nil
}

func (g *loader) count(now int64) {
	s := int((now - g.began) / int64(time.Second))
	for len(g.seconds) <= s {
		g.seconds = append(g.seconds, 0)
	}
	g.seconds[s]++
}

func (g *loader) result() loaded {
	r := loaded{Requests: g.done, Took: time.Duration(g.clock.now() - g.began), Seconds: g.seconds, Again: g.again}
	every := 1 + len(g.latencies)/maxLatencies
	for i := 0; i < len(g.latencies); i += every {
		r.Latencies = append(r.Latencies, time.Duration(g.latencies[i]))
	}
	if len(g.latencies) > 0 {
		r.Latencies[0] = time.Duration(slices.Max(g.latencies))
	}
	return r
}

// An answer is read until it is complete.
type answer struct {
	buf     []byte
	n       int
	need    int // bytes of head and body; 0 until the head is there
	chunked bool
}

func (a *answer) reset() { a.n, a.need, a.chunked = 0, 0, false }

func (a *answer) room() []byte { return a.buf[a.n:] }

var (
	headEnd    = []byte("\r\n\r\n")
	lastChunk  = []byte("0\r\n\r\n")
	lengthName = []byte("content-length:")
	codingName = []byte("transfer-encoding:")
)

// add takes n more bytes, and reports whether the answer is complete.
func (a *answer) add(n int) (bool, error) {
	a.n += n
	got := a.buf[:a.n]
	if a.need == 0 && !a.chunked {
		end := bytes.Index(got, headEnd)
		if end < 0 {
			return false, nil
		}
		if err := a.head(got[:end+2]); err != nil {
			return false, fmt.Errorf("%w: %s", err, got)
		}
		a.need += end + len(headEnd)
	}
	if a.chunked {
		return bytes.HasSuffix(got, lastChunk), nil
	}
	if a.n > a.need || a.need > len(a.buf) {
		return false, fmt.Errorf("%d bytes came for an answer of %d", a.n, a.need)
	}
	return a.n == a.need, nil
}

// head reads status and framing.
func (a *answer) head(head []byte) error {
	if len(head) < 12 || string(head[9:12]) != "200" {
		return errors.New("the answer is not 200")
	}
	for len(head) > 0 {
		end := bytes.IndexByte(head, '\n')
		line := head[:end]
		head = head[end+1:]
		switch {
		case hasPrefixFold(line, lengthName):
			a.need = 0
			for _, d := range line[len(lengthName):] {
				if d >= '0' && d <= '9' {
					a.need = 10*a.need + int(d-'0')
				}
			}
			return nil
		case hasPrefixFold(line, codingName):
			a.chunked = true
			return nil
		}
	}
	return errors.New("the answer has no length")
}

// hasPrefixFold compares with a prefix in lower case.
func hasPrefixFold(line, prefix []byte) bool {
	return len(line) >= len(prefix) && bytes.EqualFold(line[:len(prefix)], prefix)
}
