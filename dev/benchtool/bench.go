//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A bench is one run of the tool. Its methods are called from one goroutine.
type bench struct {
	options
	dir   string // for tapes and certificates; removed at the end
	clock clock
	out   io.Writer

	version   string // of the binary
	folders   int    // that peers were given
	installed map[string]installedPeer
	used      map[string]bool // by this figure

	give     time.Time // until when quiet is waited for
	worst    float64   // others' use of a CPU in the rounds of this figure, at the most
	repeated int       // rounds of this figure that others disturbed
	children []*child
	ended    time.Duration // CPU time of children that have ended
	tls      tlsFiles
}

// origin starts the server that is recorded.
func (b *bench) origin(ctx context.Context, args ...string) (*child, error) {
	return b.startSelf(ctx, append([]string{roleOrigin}, args...)...)
}

// floor starts a bare server for a tape.
func (b *bench) floor(ctx context.Context, tape string, args ...string) (*child, error) {
	return b.startSelf(ctx, append([]string{roleFloor, "-tape", tape}, args...)...)
}

func (b *bench) startSelf(ctx context.Context, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.start(ctx, self, args...)
}

// recorder starts wiretape proxy record.
func (b *bench) recorder(ctx context.Context, tape string, args ...string) (*child, error) {
	return b.start(ctx, b.wiretape, append([]string{"proxy", "record", "--listen", "127.0.0.1:0", "--tape", tape}, args...)...)
}

// player starts wiretape proxy replay.
func (b *bench) player(ctx context.Context, tape string, args ...string) (*child, error) {
	return b.start(ctx, b.wiretape, append([]string{"proxy", "replay", "--listen", "127.0.0.1:0", "--tape", tape}, args...)...)
}

// caRoot is where wiretape keeps its root certificate here.
func (b *bench) caRoot() string { return filepath.Join(b.dir, "caroot") }

// request has a client process do a job.
func (b *bench) request(ctx context.Context, j job) ([]stream, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var streams []stream
	return streams, b.ask(ctx, self, roleClient, j, &streams)
}

// load has a process of its own do a load.
func (b *bench) load(ctx context.Context, l load) (loaded, error) {
	self, err := os.Executable()
	if err != nil {
		return loaded{}, err
	}
	var got loaded
	return got, b.ask(ctx, self, roleLoad, l, &got)
}

// ask has a process in a role do something that is said and answered in JSON.
func (b *bench) ask(ctx context.Context, self, role string, what, answer any) error {
	in, err := json.Marshal(what)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, role)
	var stderr strings.Builder
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	b.ours(cmd)
	out, err := cmd.Output()
	if cmd.ProcessState != nil {
		b.ended += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if err != nil {
		return fmt.Errorf("the %s: %w: %s", role, err, stderr.String())
	}
	return json.Unmarshal(out, answer)
}

// record records a job's streams with wiretape, and returns the tape's folder.
func (b *bench) record(ctx context.Context, name string, j job) (string, error) {
	dir := filepath.Join(b.dir, name)
	o, err := b.origin(ctx)
	if err != nil {
		return "", err
	}
	defer o.stop()
	w, err := b.recorder(ctx, dir, "--upstream", "http://"+o.addr)
	if err != nil {
		return "", err
	}
	defer w.stop()
	j.Addr = w.addr
	if _, err := b.request(ctx, j); err != nil {
		return "", err
	}
	return dir, errors.Join(w.stop(), o.stop())
}
