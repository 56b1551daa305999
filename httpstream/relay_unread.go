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

// An unread counts what passes on one connection without being understood.
type unread struct {
	mu    sync.Mutex
	why   error // the first reason
	bytes int64
}

// begin notes why bytes pass unread from now on.
func (u *unread) begin(why error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.why == nil {
		u.why = why
	}
}

// add counts bytes, if there was a reason.
func (u *unread) add(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.why != nil {
		u.bytes += int64(n)
	}
}

// skip counts bytes that passed unread for a reason of their own.
func (u *unread) skip(why error, n int) {
	u.begin(why)
	u.add(n)
}

// result is an UnreadError, or nil if all was understood.
func (u *unread) result() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.why == nil {
		return nil
	}
	return &UnreadError{Reason: strings.TrimPrefix(u.why.Error(), ErrMalformed.Error()+": "), Bytes: u.bytes}
}
