package httpstream

import (
	"io"
	"net"
	"time"
)

const (
	h1InboxReads = 4       // how many reads may wait
	h1InboxSize  = 8 << 10 // bytes of a read
)

// An h1Read is what one read of a connection returned.
type h1Read struct {
	data []byte
	at   time.Time
}

// An h1Inbox reads a connection ahead of whoever serves it, so that it is
// noticed at once when the client goes away.
type h1Inbox struct {
	reads chan h1Read
	free  chan []byte
	done  chan struct{} // closed when nobody receives any more
	err   error         // why reads was closed; valid once it is
}

func newH1Inbox() *h1Inbox {
	return &h1Inbox{
		reads: make(chan h1Read, h1InboxReads),
		free:  make(chan []byte, h1InboxReads),
		done:  make(chan struct{}),
	}
}

// run reads until conn ends; then it calls gone and closes reads.
func (in *h1Inbox) run(conn net.Conn, gone func(error)) {
	defer close(in.reads)
	for {
		var buf []byte
		select {
		case buf = <-in.free:
		default:
			buf = make([]byte, h1InboxSize)
		}
		n, err := conn.Read(buf)
		at := time.Now()
		if n > 0 {
			select {
			case in.reads <- h1Read{buf[:n], at}:
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
func (in *h1Inbox) recycle(b []byte) {
	if cap(b) == 0 {
		return
	}
	select {
	case in.free <- b[:cap(b)]:
	default:
	}
}
