package tape

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// maxFailures bounds what is listed in the manifest when a disk is full.
const maxFailures = 20

// A Writer writes a tape folder while the recording runs. Every line is in the
// kernel's hands when Apply returns, so a killed process loses none, and Apply
// never waits for the disk; what is done is synced within about 100 ms. Methods are safe for concurrent
// use; the records of one exchange come in order.
type Writer struct {
	dir     string
	durable *syncer
	bufs    sync.Pool // *[]byte, for encoded lines

	gate   sync.RWMutex // held for reading by Apply, so that Close comes after
	closed bool

	mu       sync.Mutex
	manifest Manifest
	begun    *os.File         // openName
	cutOff   map[int64]string // exchange files that an earlier writer began, by ID
	open     map[int64]*openExchange
	used     map[string]bool // exchange files
	failures []error
}

// An openExchange is an exchange that is not done.
type openExchange struct {
	file, stream string // relative to the tape, with slashes

	mu    sync.Mutex
	x     Exchange
	out   *os.File // nil before the first line
	lines int64    // in the stream
	last  time.Duration
	ended bool
	err   error // the first failure: nothing more is written, so no stream has a hole
}

// Create makes a tape folder, which must not exist or be empty, and writes its
// manifest with Complete unset. Folders are made with 0700, files with 0600.
func Create(dir string, m Manifest) (*Writer, error) {
	return create(dir, m, func(files []string) error { return syncTape(dir, files) })
}

func create(dir string, m Manifest, sync func([]string) error) (*Writer, error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty: a tape is recorded into a new folder", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, sub := range []string{callsDir, casesDir, streamsDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	m.Version = Version
	m.Complete = false
	w := &Writer{
		dir:      dir,
		manifest: m,
		open:     map[int64]*openExchange{},
		used:     map[string]bool{},
	}
	w.bufs.New = func() any { return new([]byte) }
	if err := w.writeFile(manifestName, encodeManifest(&w.manifest), true); err != nil {
		return nil, err
	}
	if err := w.start(sync); err != nil {
		return nil, err
	}
	return w, nil
}

// start opens what a writer of a folder needs.
func (w *Writer) start(sync func([]string) error) (err error) {
	w.begun, err = os.OpenFile(filepath.Join(w.dir, openName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		w.durable = newSyncer(sync, w.failed)
	}
	return err
}

// Apply writes one step of a recording. An error names the file that could not
// be written; the exchange that it belongs to is written no further.
func (w *Writer) Apply(r Record) error {
	w.gate.RLock()
	defer w.gate.RUnlock()
	if w.closed {
		return fmt.Errorf("tape %s: %w", w.dir, os.ErrClosed)
	}
	switch {
	case r.Exchange != nil:
		o, err := w.begin(r.ID, r.Exchange)
		if err != nil {
			return err
		}
		return w.replace(o, r.Exchange)
	case r.Line != nil || r.Done:
		o, err := w.lookup(r.ID, r.Done)
		if err != nil {
			return err
		}
		if r.Done {
			return w.finish(o)
		}
		return w.append(o, r.Line, r.Nth)
	default:
		return w.note(r)
	}
}

func (w *Writer) begin(id int64, x *Exchange) (*openExchange, error) {
	if err := x.validate(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.open[id]; o != nil {
		return o, nil
	}
	if o, err := w.resume(id); o != nil || err != nil {
		return o, err
	}
	o := &openExchange{}
	o.file, o.stream = fileNames(x)
	if w.used[o.file] {
		return nil, fmt.Errorf("%s: a second exchange has the same number", filepath.Join(w.dir, filepath.FromSlash(o.file)))
	}
	if _, err := fmt.Fprintf(w.begun, "%d %s\n", id, o.file); err != nil {
		return nil, err
	}
	w.used[o.file] = true
	w.open[id] = o
	return o, nil
}

func (w *Writer) lookup(id int64, remove bool) (*openExchange, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.open[id]
	if o == nil {
		var err error
		if o, err = w.resume(id); err != nil {
			return nil, err
		}
	}
	if o == nil {
		return nil, fmt.Errorf("tape %s: a record for exchange %d, which is not open", w.dir, id)
	}
	if remove {
		delete(w.open, id)
	}
	return o, nil
}

// replace writes the exchange file, so that a killed recording has it.
func (w *Writer) replace(o *openExchange, x *Exchange) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	o.x = *x
	if o.x.Stream = ""; o.out != nil {
		o.x.Stream = o.stream
	}
	return w.fail(o, w.writeExchange(o))
}

// fail keeps the first failure of an exchange, and passes it on.
func (w *Writer) fail(o *openExchange, err error) error {
	if err == nil || o.err != nil {
		return err
	}
	o.err = err
	w.failed(err)
	return err
}

// failed keeps a failure for Close.
func (w *Writer) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.failures) < maxFailures {
		w.failures = append(w.failures, err)
	}
}

func (w *Writer) writeExchange(o *openExchange) error {
	data, err := encodeExchange(&o.x)
	if err != nil {
		return err
	}
	return w.writeFile(o.file, data, false)
}

// append writes a line in one write, so that only a crash of the machine or a
// full disk can leave half of it. A line that is there already is passed over.
func (w *Writer) append(o *openExchange, l *Line, nth int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	if nth > 0 && nth <= o.lines {
		return nil
	}
	if o.ended {
		return fmt.Errorf("%s: a line behind the end line", o.stream)
	}
	if o.out == nil {
		if err := w.fail(o, w.openStream(o)); err != nil {
			return err
		}
	}
	bp := w.bufs.Get().(*[]byte)
	defer w.bufs.Put(bp)
	*bp = append(AppendLine((*bp)[:0], l), '\n')
	if n, err := o.out.Write(*bp); err != nil {
		o.cutBack(n)
		return w.fail(o, err)
	}
	o.lines++
	o.last = max(o.last, l.At)
	o.ended = l.End != nil
	return nil
}

// cutBack removes the half line that a failed write left behind, so that the
// lines before it can be read. The write's own error is what gets reported.
func (o *openExchange) cutBack(n int) {
	if n == 0 {
		return
	}
	if info, err := o.out.Stat(); err == nil {
		_ = o.out.Truncate(info.Size() - int64(n))
	}
}

// openStream makes the stream file and writes its name into the exchange file.
func (w *Writer) openStream(o *openExchange) error {
	name := filepath.Join(w.dir, filepath.FromSlash(o.stream))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	o.out = f
	o.x.Stream = o.stream
	return w.writeExchange(o)
}

// finish closes an exchange that is done, and has it made durable.
func (w *Writer) finish(o *openExchange) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var err error
	files := []string{filepath.Join(w.dir, filepath.FromSlash(o.file))}
	if o.out != nil {
		files = append(files, o.out.Name())
		err = o.out.Close()
		o.out = nil
	}
	if o.err == nil {
		w.durable.add(files...)
	}
	return w.fail(o, err)
}

// note takes a record that belongs to no exchange.
func (w *Writer) note(r Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := false
	if r.Opaque != nil {
		changed = w.manifest.addOpaque(*r.Opaque)
	}
	if r.Name != nil {
		changed = w.manifest.addName(*r.Name) || changed
	}
	if r.Problem != "" && !slices.Contains(w.manifest.Problems, r.Problem) {
		w.manifest.Problems = append(w.manifest.Problems, r.Problem)
		changed = true
	}
	if !changed {
		return nil
	}
	return w.writeFile(manifestName, encodeManifest(&w.manifest), false)
}

// addOpaque counts a destination, and reports whether it is a new one. The list
// is sorted, so that two recordings differ little.
func (m *Manifest) addOpaque(o Opaque) bool {
	o.Count = max(o.Count, 1)
	i, found := slices.BinarySearchFunc(m.Opaque, o, func(a, b Opaque) int {
		return slices.Compare([]string{a.Service, a.Address, a.Reason}, []string{b.Service, b.Address, b.Reason})
	})
	if found {
		m.Opaque[i].Count += o.Count
		m.Opaque[i].Bytes += o.Bytes
		m.Opaque[i].HTTP = m.Opaque[i].HTTP || o.HTTP
		return false
	}
	m.Opaque = slices.Insert(m.Opaque, i, o)
	return true
}

// addName keeps what a name resolved to, and reports whether that changed: the
// first answer with addresses in it, else the first answer.
func (m *Manifest) addName(n Name) bool {
	i, found := slices.BinarySearchFunc(m.Names, n, func(a, b Name) int {
		return slices.Compare([]string{a.Name, a.Type}, []string{b.Name, b.Type})
	})
	switch {
	case !found:
		m.Names = slices.Insert(m.Names, i, n)
	case len(m.Names[i].Answers) == 0 && len(n.Answers) > 0:
		m.Names[i] = n
	default:
		return false
	}
	return true
}

// Close ends the recording: exchanges that are still open get an end line that
// says so, everything is synced, and the manifest is written with Complete set
// unless there were problems. edit, which may be nil, has the last word on it.
// The error joins everything that could not be written.
func (w *Writer) Close(edit func(*Manifest)) error {
	w.gate.Lock()
	again := w.closed
	w.closed = true
	w.gate.Unlock()
	if again {
		return fmt.Errorf("tape %s: %w", w.dir, os.ErrClosed)
	}
	w.begun.Close()
	for _, o := range w.open {
		w.leaveOpen(o)
		_ = w.finish(o) // kept by fail
	}
	w.durable.close()

	w.mu.Lock()
	defer w.mu.Unlock()
	for _, err := range w.failures {
		w.manifest.Problems = append(w.manifest.Problems, strings.ReplaceAll(err.Error(), w.dir+string(filepath.Separator), ""))
	}
	w.manifest.Complete = len(w.manifest.Problems) == 0
	if edit != nil {
		edit(&w.manifest)
	}
	err := w.writeFile(manifestName, encodeManifest(&w.manifest), true)
	return errors.Join(append(w.failures, err, os.Remove(w.begun.Name()))...)
}

// leaveOpen writes the end line of an exchange that had none.
func (w *Writer) leaveOpen(o *openExchange) {
	o.mu.Lock()
	ended := o.ended || o.err != nil || o.x.Failed != ""
	at := o.last
	if o.x.Response != nil {
		at = max(at, o.x.Response.At)
	}
	o.mu.Unlock()
	if ended {
		return
	}
	_ = w.append(o, &Line{At: at, End: &httpstream.EndInfo{How: httpstream.Open}}, 0) // kept by fail
}

// writeFile replaces a file of the tape in one step; durable waits for the disk.
func (w *Writer) writeFile(name string, data []byte, durable bool) error {
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	dir, base := filepath.Split(path)
	temp := filepath.Join(dir, "."+base+".tmp")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
		return err
	}
	if durable {
		return syncDir(dir)
	}
	return nil
}
