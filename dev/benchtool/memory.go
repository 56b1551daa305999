//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// maxMemory is what recording a large stream may take beside the idle process.
const maxMemory = 32 << 20

func isBlob(path string) bool { return strings.HasPrefix(path, "/blob/") }

// measureRecordMemory records a large stream of text, and one of binary data.
func measureRecordMemory(ctx context.Context, b *bench, f *results.Figure) error {
	f.Method = fmt.Sprintf("One stream of %s in chunks of %d KiB, as fast as it goes; then the tape is read and its bytes are counted.",
		results.Bytes.Format(float64(b.blob)), blobChunk>>10)
	rate := table(f, "bytes a second", results.BytesPerSec)
	resident := table(f, "resident memory", results.Bytes)
	for _, kind := range []string{"text", "binary"} {
		if err := b.awaitQuiet(ctx); err != nil {
			return err
		}
		w := b.watch()
		m, err := b.recordBlob(ctx, kind)
		if err != nil {
			return err
		}
		// The kernel writes the tape to the disk meanwhile, so this is never quiet.
		b.worst = max(b.worst, w.others())
		series(rate, kind+", direct", results.Limit).Add(m.direct)
		series(rate, kind+", through wiretape proxy record", results.Ours).Add(m.recorded)
		series(resident, kind+", idle", results.Ours).Add(float64(m.idle))
		series(resident, kind+", at the most (VmHWM)", results.Ours).Add(float64(m.peak))
		note(f, "%s: wiretape used %.1f s of CPU", kind, m.cpu.Seconds())
		f.Goals = append(f.Goals, results.Goal{What: "extra memory, " + kind, Got: float64(m.peak - m.idle), Bound: maxMemory, Unit: results.Bytes, Always: true})
	}
	return nil
}

// A memory is what it took to record a large stream.
type memory struct {
	direct, recorded float64 // bytes a second
	idle, peak       int64   // resident bytes
	cpu              time.Duration
}

func (b *bench) recordBlob(ctx context.Context, kind string) (m memory, err error) {
	o, err := b.origin(ctx)
	if err != nil {
		return m, err
	}
	defer o.stop()
	path := fmt.Sprintf("/blob/%s?size=%d", kind, b.blob)
	if m.direct, err = b.pull(ctx, o.addr, path); err != nil {
		return m, err
	}
	dir := filepath.Join(b.dir, "blob-"+kind)
	defer os.RemoveAll(dir)
	rec, err := b.recorder(ctx, dir, "--upstream", "http://"+o.addr)
	if err != nil {
		return m, err
	}
	defer rec.stop()
	if m.idle, err = rec.status("VmRSS"); err != nil {
		return m, err
	}
	if m.recorded, err = b.pull(ctx, rec.addr, path); err != nil {
		return m, err
	}
	if m.peak, err = rec.status("VmHWM"); err != nil {
		return m, err
	}
	m.cpu = rec.cpuTime()
	return m, errors.Join(rec.stop(), o.stop(), b.checkBlob(dir))
}

// pull returns bytes a second.
func (b *bench) pull(ctx context.Context, addr, path string) (float64, error) {
	streams, err := b.request(ctx, job{Addr: addr, InTurn: true, Paths: []string{path}})
	if err != nil {
		return 0, err
	}
	s := streams[0]
	if s.Bytes != b.blob {
		return 0, fmt.Errorf("%s: %d of %d bytes came", path, s.Bytes, b.blob)
	}
	return float64(s.Bytes) / time.Duration(s.Ended-s.Asked).Seconds(), nil
}

// checkBlob reports whether all of it is on the tape.
func (b *bench) checkBlob(dir string) error {
	t, err := tape.Open(dir)
	if err != nil {
		return err
	}
	if len(t.Calls) != 1 || !t.Manifest.Complete {
		return fmt.Errorf("the tape has %d calls, problems: %v", len(t.Calls), t.Manifest.Problems)
	}
	lines, err := t.Stream(t.Calls[0])
	if err != nil {
		return err
	}
	defer lines.Close()
	var sum int64
	for l, err := range lines.Lines() {
		if err != nil {
			return err
		}
		sum += int64(len(l.Data))
	}
	if sum != b.blob {
		return fmt.Errorf("the tape has %d of %d bytes", sum, b.blob)
	}
	return nil
}
