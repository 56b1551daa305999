package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
)

// BufferSize is the size of a pooled buffer, in bytes: more than a TLS record holds.
const BufferSize = 32 << 10

// buffers are for all connections: a connection that waits has none.
var buffers = sync.Pool{New: func() any { return new([BufferSize]byte) }}

// A Space is where a Reader reads to.
type Space interface {
	// Space returns where the next bytes go.
	Space() []byte
	// Idle is called when nothing has arrived: Space will be called before anything is
	// read, so a buffer without bytes in it can go.
	Idle()
}

// A Buffer is a Space of BufferSize bytes that holds memory only between a read
// and the next wait. The zero value is ready.
type Buffer struct{ bytes *[BufferSize]byte }

// Space implements Space: it returns the whole buffer.
func (b *Buffer) Space() []byte {
	if b.bytes == nil {
		b.bytes = buffers.Get().(*[BufferSize]byte)
	}
	return b.bytes[:]
}

// Idle implements Space.
func (b *Buffer) Idle() {
	if b.bytes != nil {
		buffers.Put(b.bytes)
		b.bytes = nil
	}
}

// A Reader reads a connection as its Read does, with memory that it asks for when
// there is something to read. It is for TCP connections, and for TLS over a Pollable;
// of others it reads into memory that waits with it.
type Reader struct {
	conn     net.Conn
	space    Space
	resolved bool         // no bytes are read again any more, and what follows is known
	plain    *plainReader // of TCP
	below    *Pollable    // of TLS
}

// NewReader returns a Reader of conn. Nothing else may read conn meanwhile.
func NewReader(conn net.Conn, space Space) *Reader {
	return &Reader{conn: conn, space: space}
}

// resolve finds out how the connection can be read, once no bytes of it are read again.
func (r *Reader) resolve() {
	r.conn = drained(r.conn)
	switch c := r.conn.(type) {
	case *prefixed:
		return
	case *net.TCPConn:
		r.plain = newPlainReader(c)
	case *tls.Conn:
		if !c.ConnectionState().HandshakeComplete {
			return // an error of a handshake stays, even one that says to come again
		}
		r.below = pollableOf(c)
	}
	r.resolved = true
}

// pollableOf returns the Pollable below conn, or nil.
func pollableOf(conn net.Conn) *Pollable {
	for {
		switch c := conn.(type) {
		case *Pollable:
			if c.plain == nil {
				return nil
			}
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// drained returns the connection from which all comes now that is read from conn.
func drained(conn net.Conn) net.Conn {
	for {
		c, ok := conn.(*prefixed)
		if !ok || len(c.prefix) > 0 {
			return conn
		}
		conn = c.Conn
	}
}

// Read reads what has arrived to the front of space's Space, and waits until
// something has.
func (r *Reader) Read() (int, error) {
	if !r.resolved {
		r.resolve()
	}
	switch {
	case r.below != nil:
		return r.readTLS()
	case r.plain != nil:
		return r.plain.read(r.space)
	}
	return r.conn.Read(r.space.Space())
}

func (r *Reader) readTLS() (int, error) {
	for {
		r.below.atOnce = true
		n, err := r.conn.Read(r.space.Space())
		r.below.atOnce = false
		if n > 0 || !errors.Is(err, errNothing) {
			return n, err
		}
		r.space.Idle()
		if err := r.below.plain.wait(); err != nil {
			return 0, err
		}
	}
}

// errNothing says that nothing has arrived. To crypto/tls it is like a deadline: the
// connection can be read again.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing has arrived" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// A Pollable is the connection below TLS: it lets a Reader of what is inside wait
// without memory.
type Pollable struct {
	net.Conn
	plain  *plainReader // nil: it is no TCP connection
	atOnce bool         // Read does not wait
}

// NewPollable returns conn as one that TLS can be put on.
func NewPollable(conn net.Conn) *Pollable {
	p := &Pollable{Conn: conn}
	if tcp := TCP(conn); tcp != nil {
		p.plain = newPlainReader(tcp)
	}
	return p
}

// Read implements net.Conn.
func (p *Pollable) Read(b []byte) (int, error) {
	if _, again := drained(p.Conn).(*prefixed); again || !p.atOnce {
		return p.Conn.Read(b)
	}
	return p.plain.try(b)
}

// WriteTo lets io.Copy have the kernel copy what is not read again.
func (p *Pollable) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, drained(p.Conn)) }

// CloseWrite closes the writing side, where the connection below has one.
func (p *Pollable) CloseWrite() error {
	if cw, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// NetConn returns the connection below.
func (p *Pollable) NetConn() net.Conn { return p.Conn }
