package http1

import (
	"io"
	"net"
	"time"
)

const (
	inboxReads = 4       // how many reads may wait
	inboxSize  = 8 << 10 // bytes of a read
)

// An input is what one read of a connection returned.
type input struct {
	data []byte
	at   time.Time
}

// An inbox reads a connection ahead of whoever serves it, so that it is
// noticed at once when the client goes away.
type inbox struct {
	reads chan input
	free  chan []byte
	done  chan struct{} // closed when nobody receives any more
	err   error         // why reads was closed; valid once it is
}

func newInbox() *inbox {
	return &inbox{
		reads: make(chan input, inboxReads),
		free:  make(chan []byte, inboxReads),
		done:  make(chan struct{}),
	}
}

// run reads until conn ends; then it calls gone and closes reads.
func (in *inbox) run(conn net.Conn, gone func(error)) {
	defer close(in.reads)
	for {
		var buf []byte
		select {
		case buf = <-in.free:
		default:
			buf = make([]byte, inboxSize)
		}
		n, err := conn.Read(buf)
		at := time.Now()
		if n > 0 {
			select {
			case in.reads <- input{buf[:n], at}:
			case <-in.done:
				err = io.ErrClosedPipe
			}
		}
		if err != nil {
			in.err = err
			gone(err)
			return
		}
	}
}

// recycle takes back the bytes of a read.
func (in *inbox) recycle(b []byte) {
	if cap(b) == 0 {
		return
	}
	select {
	case in.free <- b[:cap(b)]:
	default:
	}
}
