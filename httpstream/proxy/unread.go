package proxy

import (
	"sync"

	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// An unreadConn is a relayed connection of HTTP: once a part of it is not
// understood, that is told at its end, or at the end of the recording.
type unreadConn struct {
	p     *Proxy
	about func() (service, authority string, wanted bool)
	once  sync.Once
	read  *relay.Unread // guarded by p.mu
}

// watchUnread has a relay's options note what is not understood, and the relay known
// to CatchUp. about tells which connection it is, and whether it should be on the tape.
func (p *Proxy) watchUnread(opt *relay.Options, about func() (service, authority string, wanted bool)) *unreadConn {
	c := &unreadConn{p: p, about: about}
	opt.Begun = p.begun
	opt.Unread = func(u *relay.Unread) {
		p.mu.Lock()
		defer p.mu.Unlock()
		c.read = u
		p.unread[c] = struct{}{}
	}
	return c
}

// tell notifies of the connection, once, if a part of it was not understood.
func (c *unreadConn) tell() {
	c.p.mu.Lock()
	read := c.read
	delete(c.p.unread, c)
	c.p.mu.Unlock()
	if read == nil {
		return
	}
	c.once.Do(func() {
		u := read.Sofar()
		service, authority, wanted := c.about()
		switch {
		case u.Bytes == 0:
			c.p.cfg.Notify(event.Notice{Kind: event.Misused, Service: service, About: authority, Detail: "what came is not HTTP, and was not passed on: " + u.Reason})
		case wanted:
			c.p.cfg.Notify(event.Notice{Kind: event.Opaque, Service: service, About: authority, Detail: u.Reason, Bytes: u.Bytes, HTTP: true})
		}
	})
}

// begun keeps a relay's catchUp until the relay ends.
func (p *Proxy) begun(catchUp func()) (ended func()) {
	key := &catchUp
	p.mu.Lock()
	defer p.mu.Unlock()
	p.relays[key] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.relays, key)
	}
}

// CatchUp returns when all that was read from any connection by now is told to its
// sink: an answer whose end the app has is not cut off by the end of a recording.
func (p *Proxy) CatchUp() {
	p.mu.Lock()
	relays := make([]func(), 0, len(p.relays))
	for catchUp := range p.relays {
		relays = append(relays, *catchUp)
	}
	p.mu.Unlock()
	for _, catchUp := range relays {
		catchUp()
	}
}

// TellUnread notifies of the connections that are not understood and still open,
// for a recording that ends before they do.
func (p *Proxy) TellUnread() {
	p.mu.Lock()
	open := make([]*unreadConn, 0, len(p.unread))
	for c := range p.unread {
		open = append(open, c)
	}
	p.mu.Unlock()
	for _, c := range open {
		c.tell()
	}
}
