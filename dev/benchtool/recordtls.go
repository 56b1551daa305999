//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
)

// measureRecordTLS compares one download over TLS with a direct one, and one
// through nginx, which ends TLS and begins it anew as well.
func measureRecordTLS(ctx context.Context, b *bench, f *results.Figure) error {
	if err := b.makeTLS(); err != nil {
		return err
	}
	o, err := b.origin(ctx, b.tls.args()...)
	if err != nil {
		return err
	}
	defer o.stop()
	own, err := os.ReadFile(b.tls.cert)
	if err != nil {
		return err
	}
	f.Method = fmt.Sprintf("One answer of %s of binary data with a length, TLS 1.3 and HTTP/1.1 on both sides, wiretape through CONNECT, nginx as a reverse proxy with the better of proxy_buffering on and off; a new process and tape each time, %d rounds.",
		results.Bytes.Format(float64(b.blob/2)), b.rounds)
	rate := plotted(f, "bytes a second", results.BytesPerSec)
	cpu := table(f, "CPU for a MiB", results.Nanoseconds)
	ways := []*tlsWay{
		{label: "direct", role: results.Limit, open: func() (*child, job, error) { return o, job{Addr: o.addr, Roots: string(own)}, nil }},
		{label: recorder, role: results.Ours, open: func() (*child, job, error) { return b.recordTLS(ctx, o) }},
		{label: "nginx", role: results.Peer, open: func() (*child, job, error) { return b.nginxTLS(ctx, o, string(own), false) }},
		{label: "nginx, proxy_buffering off", role: results.Peer, open: func() (*child, job, error) { return b.nginxTLS(ctx, o, string(own), true) }},
	}
	for _, w := range ways {
		w.rate = series(rate, w.label, w.role)
		if w.role != results.Limit {
			w.cpu = series(cpu, w.label, w.role)
		}
	}
	for range b.rounds {
		for _, w := range ways {
			if w.rate.Cannot != "" {
				continue
			}
			if err := b.download(ctx, w, o); err != nil {
				if w.role != results.Peer || ctx.Err() != nil {
					return fmt.Errorf("%s: %w", w.label, err)
				}
				w.rate.Cannot = firstLine(err)
			}
		}
	}
	direct := ways[0].rate
	var best float64
	for _, w := range ways[1:] {
		share := results.Ratio(w.rate, direct)
		note(f, "%s: %.2f of direct", w.label, share)
		if w.role == results.Peer {
			best = max(best, share)
		}
	}
	if best > 0 {
		f.Goals = append(f.Goals, results.Goal{What: "share of direct, beside nginx's", Got: results.Ratio(ways[1].rate, direct), Bound: best, Unit: results.Share, AtLeast: true})
	}
	return nil
}

// A tlsWay is a way of a download.
type tlsWay struct {
	label     string
	role      results.Role
	open      func() (*child, job, error)
	rate, cpu *results.Series
}

func (b *bench) recordTLS(ctx context.Context, o *child) (*child, job, error) {
	dir, err := b.scratch("tape")
	if err != nil {
		return nil, job{}, err
	}
	c, err := b.recorder(ctx, filepath.Join(dir, "tape"), "--upstream-ca", b.tls.cert)
	if err != nil {
		return nil, job{}, err
	}
	c.dir = dir
	root, err := os.ReadFile(filepath.Join(b.caRoot(), "rootCA.pem"))
	return c, job{Addr: o.addr, Proxy: c.addr, Roots: string(root)}, err
}

func (b *bench) nginxTLS(ctx context.Context, o *child, roots string, streams bool) (*child, job, error) {
	c, err := b.startNginx(ctx, o.addr, streams, b.tls)
	if err != nil {
		return nil, job{}, err
	}
	return c, job{Addr: c.addr, Roots: roots}, nil
}

// download measures one way once.
func (b *bench) download(ctx context.Context, w *tlsWay, o *child) error {
	return b.round(ctx, func() (func(), error) {
		server, j, err := w.open()
		if err != nil {
			return nil, err
		}
		size := b.blob / 2
		j.HTTP1, j.Paths = true, []string{fmt.Sprintf("/blob/file?size=%d", size)}
		before := server.cpuTime()
		got, err := b.request(ctx, j)
		used := server.cpuTime() - before
		if server != o {
			err = errors.Join(err, server.stop(), os.RemoveAll(server.dir))
		}
		if err != nil {
			return nil, err
		}
		if got[0].Bytes != size {
			return nil, fmt.Errorf("%d of %d bytes came", got[0].Bytes, size)
		}
		return func() {
			w.rate.Add(float64(size) / time.Duration(got[0].Ended-got[0].Asked).Seconds())
			if w.cpu != nil {
				w.cpu.Add(float64(used) / (float64(size) / (1 << 20)))
			}
		}, nil
	})
}
