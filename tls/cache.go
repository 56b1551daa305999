package mitmtls

import (
	"container/list"
	"crypto/tls"
	"sync"
	"time"
)

// A leafCache keeps the leaves that were used last. Its zero value is empty. The
// issuer's lock guards it, but not the making of a leaf, which the entry's once
// guards.
type leafCache struct {
	byName map[string]*list.Element // of *leafEntry
	recent list.List                // used last in front
}

type leafEntry struct {
	name    string
	made    time.Time
	element *list.Element

	once sync.Once
	cert *tls.Certificate // both are set by once
	err  error
}

// get returns the entry of a name, which is a new one if there is none or if it
// is about to expire.
func (c *leafCache) get(name string, now time.Time) *leafEntry {
	if el := c.byName[name]; el != nil {
		e := el.Value.(*leafEntry)
		if now.Sub(e.made) < leafLifetime-leafMargin {
			c.recent.MoveToFront(el)
			return e
		}
		c.remove(e)
	}
	if c.byName == nil {
		c.byName = map[string]*list.Element{}
	}
	e := &leafEntry{name: name, made: now}
	e.element = c.recent.PushFront(e)
	c.byName[name] = e.element
	if c.recent.Len() > maxLeaves {
		c.remove(c.recent.Back().Value.(*leafEntry))
	}
	return e
}

// remove forgets an entry, unless it is gone or replaced already.
func (c *leafCache) remove(e *leafEntry) {
	if c.byName[e.name] == e.element {
		delete(c.byName, e.name)
		c.recent.Remove(e.element)
	}
}
