package main

import (
	"cmp"
	"errors"
	"io/fs"
	"syscall"

	"github.com/wiretape/wiretape/bpf"
	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// classifiers give errors without a kind theirs.
var classifiers = []func(error) (kind event.ProblemKind, next string, ok bool){
	func(err error) (event.ProblemKind, string, bool) {
		var e *compose.ExitError
		return event.Mismatch, "", errors.As(err, &e)
	},
	func(err error) (event.ProblemKind, string, bool) {
		// What docker compose says of the user's own files.
		var e *compose.CommandError
		return event.Usage, "", errors.As(err, &e)
	},
	func(err error) (event.ProblemKind, string, bool) {
		var e *tape.FormatError
		if !errors.As(err, &e) {
			return "", "", false
		}
		return event.BrokenTape, cmp.Or(e.Hint, "mend the file, or record the tape again"), true
	},
	func(err error) (event.ProblemKind, string, bool) {
		var e *mitmtls.FileError
		if !errors.As(err, &e) {
			return "", "", false
		}
		return event.Environment, e.Hint, true
	},
	func(err error) (event.ProblemKind, string, bool) {
		var e *bpf.Unsupported
		if !errors.As(err, &e) {
			return "", "", false
		}
		return event.Environment, e.Hint, true
	},
	func(err error) (event.ProblemKind, string, bool) {
		return event.Environment, "check who owns the file, and its mode", errors.Is(err, fs.ErrPermission)
	},
	func(err error) (event.ProblemKind, string, bool) {
		return event.Environment, "free space on that disk", errors.Is(err, syscall.ENOSPC)
	},
	func(err error) (event.ProblemKind, string, bool) {
		return event.Environment, "the disk is mounted read-only, or broken: choose another folder", errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO)
	},
}
