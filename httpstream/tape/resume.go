package tape

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ResumeAs is Resume for a process that writes another user's tape; a nil owner is its own.
func ResumeAs(dir string, owner *Owner) (*Writer, error) {
	w, err := Resume(dir)
	if w != nil {
		w.owner = owner
	}
	return w, err
}

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
	w := &Writer{dir: dir, manifest: m, open: map[int64]*openExchange{}, resumed: true, cutOff: map[int64]string{}}
	for line := range strings.Lines(string(begun)) {
		id, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil || !strings.HasSuffix(line, "\n") || !validFile(name) {
			break // half a line, whose exchange has nothing on the tape
		}
		w.cutOff[n] = name
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
	o := &openExchange{file: name}
	if err := o.reopen(w.path(streamOf(name))); err != nil {
		return nil, err
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
	whole, err := o.count(f)
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

// count counts the lines of a stream, and returns how many bytes are whole lines.
func (o *openExchange) count(f io.Reader) (whole int64, err error) {
	in := bufio.NewReaderSize(f, 64<<10)
	for read := int64(0); ; {
		part, err := in.ReadSlice('\n')
		read += int64(len(part))
		switch {
		case err == nil:
			o.lines++
			whole = read
		case err == io.EOF:
			return whole, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return 0, err
		}
	}
}

// readOpen reads an open exchange back: its file, the time of its last line, and
// whether it has an end line.
func (w *Writer) readOpen(o *openExchange) (x *Exchange, last time.Duration, ended bool, err error) {
	path := w.path(o.file)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, false, err
	}
	if x, err = decodeExchange(data, path); err != nil {
		return nil, 0, false, err
	}
	t := &Tape{Dir: w.dir, Manifest: w.manifest}
	s, err := t.Stream(x)
	if err != nil {
		return nil, 0, false, err
	}
	defer s.Close()
	for l, err := range s.Lines() {
		if err != nil && !errors.Is(err, ErrTruncated) {
			return nil, 0, false, err
		}
		last, ended = max(last, l.At), ended || l.End != nil
	}
	return x, last, ended, nil
}
