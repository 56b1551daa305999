//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const roleOpen = "open"

// An opened is what it took to open a tape.
type opened struct {
	Took  time.Duration
	Heap  int64 // bytes that are live
	Calls int
}

// runOpen opens the tape that stands as JSON on stdin, and writes an opened.
func runOpen(in io.Reader, out io.Writer) error {
	var dir string
	if err := json.NewDecoder(in).Decode(&dir); err != nil {
		return err
	}
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, began := live(), time.Now()
	t, err := tape.Open(dir)
	if err != nil {
		return err
	}
	o := opened{Took: time.Since(began), Calls: len(t.Calls)}
	o.Heap = live() - before
	runtime.KeepAlive(t)
	return json.NewEncoder(out).Encode(o)
}

// measureTapeOpen opens a tape of many calls: alone, and for a replay.
func measureTapeOpen(ctx context.Context, b *bench, f *results.Figure) error {
	tapes := make(map[int]string)
	for _, calls := range []int{few, b.large} {
		var err error
		if tapes[calls], err = b.smallTape(ctx, calls); err != nil {
			return err
		}
	}
	f.Method = fmt.Sprintf("A tape of %d calls with 175 bytes of JSON, just recorded, so that it is in the page cache, and one of %d: how long \"%s\" takes from its start until it serves, and what is resident then; "+
		"and the reader of tapes alone, with what is live on the heap after a collection. %d rounds.", b.large, few, player, b.rateRounds)
	took := table(f, "time until it serves", results.Nanoseconds)
	resident := table(f, "resident then", results.Bytes)
	heap := table(f, "live heap of the reader", results.Bytes)
	read := table(f, "time of the reader", results.Nanoseconds)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	all := make(map[int][4]*results.Series)
	for _, calls := range []int{few, b.large} {
		label := fmt.Sprintf("%d calls", calls)
		all[calls] = [...]*results.Series{series(took, label, results.Ours), series(resident, label, results.Ours), series(heap, label, results.Ours), series(read, label, results.Ours)}
	}
	for range b.rateRounds {
		for calls, dir := range tapes {
			err := b.round(ctx, func() (func(), error) {
				began := time.Now()
				c, err := b.player(ctx, dir, "--speed", "0")
				if err != nil {
					return nil, err
				}
				served := time.Since(began)
				rss, err := c.status("VmRSS")
				if err != nil {
					return nil, err
				}
				var o opened
				if err := b.ask(ctx, self, roleOpen, dir, &o); err != nil {
					return nil, err
				}
				if o.Calls != calls {
					return nil, fmt.Errorf("%d of %d calls are on the tape", o.Calls, calls)
				}
				return func() {
					s := all[calls]
					s[0].Add(float64(served))
					s[1].Add(float64(rss))
					s[2].Add(float64(o.Heap))
					s[3].Add(float64(o.Took))
				}, c.stop()
			})
			if err != nil {
				return err
			}
		}
	}
	more := func(i int) float64 {
		return (all[b.large][i].Median(results.P50) - all[few][i].Median(results.P50)) / float64(b.large-few)
	}
	note(f, "a call: %s until it serves and %s resident; the reader takes %s and keeps %s",
		short(time.Duration(more(0))), results.Bytes.Format(more(1)), short(time.Duration(more(3))), results.Bytes.Format(more(2)))
	f.Goals = append(f.Goals,
		atMost(fmt.Sprintf("a tape of %d calls is opened", b.large), all[b.large][0].Median(results.P50), 2*time.Second),
		results.Goal{What: "resident for a call", Got: more(1), Bound: 2 << 10, Unit: results.Bytes, Always: true},
		results.Goal{What: "live heap of the reader for a call", Got: more(2), Bound: 2 << 10, Unit: results.Bytes, Always: true})
	return nil
}

// measureTapeDisk counts what a small call takes on the disk.
func measureTapeDisk(ctx context.Context, b *bench, f *results.Figure) error {
	one, err := b.smallTape(ctx, 1)
	if err != nil {
		return err
	}
	many, err := b.smallTape(ctx, few)
	if err != nil {
		return err
	}
	f.Method = fmt.Sprintf("What a tape of %d calls with 175 bytes of JSON takes more than one of a single call, for each call more; folders are not counted.", few)
	less, err := sizeOf(one)
	if err != nil {
		return err
	}
	more, err := sizeOf(many)
	if err != nil {
		return err
	}
	each := func(what string, unit results.Unit, less, more int64) float64 {
		v := float64(more-less) / (few - 1)
		series(table(f, what, unit), recorder, results.Ours).Add(v)
		return v
	}
	files := each("files for a call", results.Files, less.files, more.files)
	each("bytes in them", results.Bytes, less.bytes, more.bytes)
	each("bytes allocated for them", results.Bytes, less.blocks, more.blocks)
	f.Goals = append(f.Goals, results.Goal{What: "files for a small call", Got: files, Bound: 1, Unit: results.Files, Always: true})
	return nil
}

// A size is what a folder takes on the disk.
type size struct{ files, bytes, blocks int64 }

func sizeOf(dir string) (s size, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		s.files++
		s.bytes += info.Size()
		s.blocks += 512 * info.Sys().(*syscall.Stat_t).Blocks
		return nil
	})
	return s, err
}
