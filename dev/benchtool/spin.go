//go:build linux

package main

import (
	"container/heap"
	"net"
	"runtime"
)

// A spinner sends the streams of all connections from one thread that never
// sleeps while there is a stream, so that what a client measures is the way
// from a send to its own wake-up.
type spinner struct {
	clock   clock
	streams chan *spinning
}

// A spinning is a stream under way.
type spinning struct {
	conn    net.Conn
	arrived int64
	sends   []send
	next    int64 // when the first of sends is due
	done    chan error
}

func newSpinner(clk clock) *spinner {
	s := &spinner{clk, make(chan *spinning)}
	go s.run()
	return s
}

// play returns when all is sent.
func (s *spinner) play(conn net.Conn, arrived int64, sends []send) error {
	x := &spinning{conn: conn, arrived: arrived, sends: sends, done: make(chan error, 1)}
	x.next = arrived + int64(sends[0].at)
	s.streams <- x
	return <-x.done
}

func (s *spinner) run() {
	runtime.LockOSThread()
	var all spinnings
	for {
		if len(all) == 0 {
			heap.Push(&all, <-s.streams)
		}
		select {
		case x := <-s.streams:
			heap.Push(&all, x)
		default:
		}
		if x := all[0]; x.next <= s.clock.now() {
			if x.step() {
				heap.Fix(&all, 0)
			} else {
				heap.Pop(&all)
			}
		}
	}
}

// step sends what is due, and reports whether there is more.
func (x *spinning) step() bool {
	_, err := x.conn.Write(x.sends[0].wire)
	x.sends = x.sends[1:]
	if err != nil || len(x.sends) == 0 {
		x.done <- err
		return false
	}
	x.next = x.arrived + int64(x.sends[0].at)
	return true
}

// spinnings is a heap by time.
type spinnings []*spinning

func (xs spinnings) Len() int           { return len(xs) }
func (xs spinnings) Less(i, j int) bool { return xs[i].next < xs[j].next }
func (xs spinnings) Swap(i, j int)      { xs[i], xs[j] = xs[j], xs[i] }
func (xs *spinnings) Push(x any)        { *xs = append(*xs, x.(*spinning)) }

func (xs *spinnings) Pop() any {
	last := (*xs)[len(*xs)-1]
	*xs = (*xs)[:len(*xs)-1]
	return last
}
