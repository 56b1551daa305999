package httpstream

import (
	"fmt"
	"strings"
	"sync"
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
	return fmt.Sprintf("%v: %s; %d bytes passed unread", ErrMalformed, e.Reason, e.Bytes)
}

// Unwrap returns ErrMalformed.
func (e *UnreadError) Unwrap() error { return ErrMalformed }

// An Unread counts what passes on one connection without being understood.
type Unread struct {
	tell func(*Unread) // once there is a reason; may be nil

	mu    sync.Mutex
	why   error // the first reason
	bytes int64
}

// begin notes why bytes pass unread from now on.
func (u *Unread) begin(why error) {
	u.mu.Lock()
	first := u.why == nil
	if first {
		u.why = why
	}
	u.mu.Unlock()
	if first && u.tell != nil {
		u.tell(u)
	}
}

// add counts bytes, if there was a reason.
func (u *Unread) add(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.why != nil {
		u.bytes += int64(n)
	}
}

// skip counts bytes that passed unread for a reason of their own.
func (u *Unread) skip(why error, n int) {
	u.begin(why)
	u.add(n)
}

// result is an UnreadError, or nil if all was understood.
func (u *Unread) result() error {
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
	return &UnreadError{Reason: strings.TrimPrefix(u.why.Error(), ErrMalformed.Error()+": "), Bytes: u.bytes}
}
