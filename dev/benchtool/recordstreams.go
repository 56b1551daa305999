//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
)

// dripEvery is between two events of a stream of which there are many.
const dripEvery = time.Second

// measureRecordStreams records many slow streams at once.
func measureRecordStreams(ctx context.Context, b *bench, f *results.Figure) error {
	o, err := b.origin(ctx)
	if err != nil {
		return err
	}
	defer o.stop()
	dir := filepath.Join(b.dir, f.Name)
	rec, err := b.recorder(ctx, dir, "--upstream", "http://"+o.addr)
	if err != nil {
		return err
	}
	defer rec.stop()
	idle, err := rec.status("VmRSS")
	if err != nil {
		return err
	}
	f.Method = fmt.Sprintf("%d streams of %d events, one every %s, over as many connections that begin a millisecond apart, so that all are open at once. "+
		"Memory is the most that was resident (VmHWM) less what was before. Then the tape's events are counted.", b.streams, b.drips, dripEvery)
	j := job{Addr: rec.addr, Stagger: time.Millisecond}
	for i := range b.streams {
		j.Paths = append(j.Paths, fmt.Sprintf("/drip/%d?events=%d", i, b.drips))
	}
	w := b.watch()
	got, err := b.request(ctx, j)
	if err != nil {
		return err
	}
	took := time.Since(w.at)
	b.worst = w.others()
	peak, err := rec.status("VmHWM")
	if err != nil {
		return err
	}
	used := rec.cpuTime()
	if err := errors.Join(rec.stop(), o.stop()); err != nil {
		return err
	}
	times, err := loadRecorded(dir)
	if err != nil {
		return err
	}
	lost := 0
	for _, s := range got {
		lost += b.drips - len(times[s.Path].events)
	}
	each := float64(peak-idle) / float64(b.streams)
	series(table(f, "memory for a stream", results.Bytes), recorder, results.Ours).Add(each)
	note(f, "resident: %s idle, %s at the most; %.1f s of CPU in %s; of %d events %d are not on the tape", results.Bytes.Format(float64(idle)),
		results.Bytes.Format(float64(peak)), used.Seconds(), took.Round(time.Second), b.streams*b.drips, lost)
	f.Goals = append(f.Goals,
		results.Goal{What: "memory for a stream", Got: each, Bound: 32 << 10, Unit: results.Bytes, Always: true},
		results.Goal{What: "events lost", Got: float64(lost), Bound: 0, Unit: "events", Always: true})
	return nil
}
