package tape

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Resume goes on with the recording in dir whose Writer was killed. Records that
// it wrote may be applied once more; a folder without such a recording gives an
// error that is fs.ErrNotExist.
func Resume(dir string) (*Writer, error) {
	return resume(dir, func(files []string) error { return syncTape(dir, files) })
}

func resume(dir string, sync func([]string) error) (*Writer, error) {
	file := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(data, dir, file)
	if err != nil {
		return nil, err
	}
	begun, err := os.ReadFile(filepath.Join(dir, openName))
	if err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, manifest: m, open: map[int64]*openExchange{}, used: map[string]bool{}, cutOff: map[int64]string{}}
	w.bufs.New = func() any { return new([]byte) }
	for line := range strings.Lines(string(begun)) {
		id, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil || !strings.HasSuffix(line, "\n") {
			break // half a line, whose exchange has nothing on the tape
		}
		w.cutOff[n], w.used[name] = name, true
	}
	if err := w.start(sync); err != nil {
		return nil, err
	}
	return w, nil
}

// resume opens an exchange that an earlier writer began; nil if there is none of
// that ID. The caller holds mu.
func (w *Writer) resume(id int64) (*openExchange, error) {
	name, ok := w.cutOff[id]
	if !ok {
		return nil, nil
	}
	delete(w.cutOff, id)
	o := &openExchange{file: name, stream: streamOf(name)}
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // killed just before it was written
	case err != nil:
		return nil, err
	default:
		x, err := decodeExchange(data, path)
		if err != nil {
			return nil, err
		}
		x.File = ""
		o.x = *x
		if err := o.reopen(filepath.Join(w.dir, filepath.FromSlash(o.stream))); err != nil {
			return nil, err
		}
	}
	w.open[id] = o
	return o, nil
}

// streamOf is the stream file's name for an exchange file's.
func streamOf(exchange string) string {
	dir, base, _ := strings.Cut(exchange, "/")
	return streamsDir + "/" + strings.TrimSuffix(dir, "s") + "-" + strings.TrimSuffix(base, ".yaml") + ".ndjson"
}

// reopen counts the lines of a stream, takes off half a line at its end, and
// opens it for more. One that is not there is made with its first line.
func (o *openExchange) reopen(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	whole, err := o.count(f, name)
	if err == nil {
		err = f.Truncate(whole)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", name, err)
	}
	o.out = f
	return nil
}

// count reads the lines of a stream, and returns how many bytes are whole lines.
func (o *openExchange) count(f io.Reader, name string) (whole int64, err error) {
	s := newStreamReader(f, name)
	for {
		raw, err := s.readRaw()
		if err == io.EOF {
			return whole, nil
		}
		if err != nil {
			return 0, err
		}
		l, grown, err := parseLine(raw, s.data)
		if err != nil {
			return 0, s.errorf(err.Error())
		}
		s.data = grown
		whole += int64(len(raw)) + 1
		o.lines++
		o.last = max(o.last, l.At)
		o.ended = l.End != nil
	}
}
