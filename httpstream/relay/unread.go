package relay

import (
	"errors"
	"fmt"
	"sync"

	"github.com/wiretape/wiretape/httpstream"
)

// An UnreadError says that a part of a connection passed without being
// understood, and is in no exchange. It wraps ErrMalformed.
type UnreadError struct {
	// Reason is why, without anything of what passed: that may be secret, and long.
	Reason string
	// Bytes is how much passed from there on, both ways.
	Bytes int64
}

// Error implements error.
func (e *UnreadError) Error() string {
	return fmt.Sprintf("%v: %s; %d bytes passed unread", httpstream.ErrMalformed, e.Reason, e.Bytes)
}

// Unwrap returns ErrMalformed.
func (e *UnreadError) Unwrap() error { return httpstream.ErrMalformed }

// An Unread counts what passes on one connection without being understood.
type Unread struct {
	Notify func(*Unread) // is called once, when there is a reason; may be nil

	mu    sync.Mutex
	why   error // the first reason
	bytes int64
}

// Begin notes why bytes pass unread from now on.
func (u *Unread) Begin(why error) {
	u.mu.Lock()
	first := u.why == nil
	if first {
		u.why = why
	}
	u.mu.Unlock()
	if first && u.Notify != nil {
		u.Notify(u)
	}
}

// Add counts bytes, if there was a reason.
func (u *Unread) Add(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.why != nil {
		u.bytes += int64(n)
	}
}

// Skip counts bytes that passed unread for a reason of their own.
func (u *Unread) Skip(why error, n int) {
	u.Begin(why)
	u.Add(n)
}

// Err is an UnreadError, or nil if all was understood.
func (u *Unread) Err() error {
	if e := u.Sofar(); e != nil {
		return e
	}
	return nil
}

// Sofar tells what passed up to now; nil if all was understood.
func (u *Unread) Sofar() *UnreadError {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.why == nil {
		return nil
	}
	reason := u.why.Error()
	if m, ok := errors.AsType[*httpstream.MalformedError](u.why); ok {
		reason = m.Reason
	}
	return &UnreadError{Reason: reason, Bytes: u.bytes}
}
