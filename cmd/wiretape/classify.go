package main

import (
	"cmp"
	"errors"
	"io/fs"
	"syscall"

	"github.com/wiretape/wiretape/bpf"
	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/httpstream/tape"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// classifiers give the errors of the rooms their exit codes.
var classifiers = []func(error) (code int, hint string, ok bool){
	func(err error) (int, string, bool) {
		var e *compose.Error
		if !errors.As(err, &e) {
			return 0, "", false
		}
		code := map[compose.Kind]int{
			compose.Usage: exitUsage, compose.Environment: exitEnvironment,
			compose.App: exitFailed, compose.Interrupted: exitInterrupted,
		}[e.Kind]
		return code, e.Hint, code != 0
	},
	func(err error) (int, string, bool) {
		var e *compose.ExitError
		return exitFailed, "", errors.As(err, &e)
	},
	func(err error) (int, string, bool) {
		// What docker compose says of the user's own files.
		var e *compose.CommandError
		return exitUsage, "", errors.As(err, &e)
	},
	func(err error) (int, string, bool) {
		var e *tape.FormatError
		if !errors.As(err, &e) {
			return 0, "", false
		}
		return exitTape, cmp.Or(e.Hint, "mend the file, or record the tape again"), true
	},
	func(err error) (int, string, bool) {
		var e *mitmtls.FileError
		if !errors.As(err, &e) {
			return 0, "", false
		}
		return exitEnvironment, e.Hint, true
	},
	func(err error) (int, string, bool) {
		var e *bpf.Unsupported
		if !errors.As(err, &e) {
			return 0, "", false
		}
		return exitEnvironment, e.Hint, true
	},
	func(err error) (int, string, bool) {
		return exitEnvironment, "check who owns the file, and its mode", errors.Is(err, fs.ErrPermission)
	},
	func(err error) (int, string, bool) {
		return exitEnvironment, "free space on that disk", errors.Is(err, syscall.ENOSPC)
	},
	func(err error) (int, string, bool) {
		return exitEnvironment, "the disk is mounted read-only, or broken: choose another folder", errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO)
	},
}
