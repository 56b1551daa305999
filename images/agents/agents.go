// Package agents carries the Linux agents in release builds: those of `make
// cross`, which have the build tag embed_agents. Other builds carry none, and
// serve only as agents of their own kind.
package agents

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Open returns the agent for linux on an architecture, named as GOARCH. The
// error is fs.ErrNotExist if this build carries none.
func Open(arch string) (io.ReadCloser, error) {
	f, err := files().Open("wiretape-linux-" + arch + ".gz")
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	return &reader{Reader: z, file: f}, nil
}

type reader struct {
	*gzip.Reader
	file fs.File
}

func (r *reader) Close() error { return errors.Join(r.Reader.Close(), r.file.Close()) }
