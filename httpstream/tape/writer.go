package tape

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/wiretape/wiretape/httpstream"
)

// maxFailures bounds what is listed in the manifest when a disk is full.
const maxFailures = 20

// A Writer writes a tape folder while the recording runs. What Apply got is in the
// kernel's hands when it returns, so a killed process loses none of it, and Apply
// never waits for the disk for an exchange; what is done is synced within about
// 100 ms. Methods are safe for concurrent use; the records of one exchange come in order.
type Writer struct {
	dir     string
	durable *syncer
	owner   *Owner // of files that are made; nil for the process's user

	gate   sync.RWMutex // held for reading by Apply, so that Close comes after
	closed bool

	mu       sync.Mutex
	manifest Manifest
	begun    *os.File                // openName
	resumed  bool                    // an earlier writer may have written what comes
	cutOff   map[int64]string        // exchange files that it began, by ID
	open     map[int64]*openExchange // exchanges that were written before their end
	failures []error
}

// An openExchange is an exchange that is not done.
type openExchange struct {
	file string // relative to the tape, with slashes

	mu    sync.Mutex
	out   *os.File // the stream; nil if there is none
	lines int64    // in the stream
	err   error    // the first failure: nothing more is written, so no stream has a hole
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
	w := &Writer{dir: dir, manifest: m, open: map[int64]*openExchange{}}
	if err := w.replaceFile(manifestName, encodeManifest(&w.manifest), true); err != nil {
		return nil, err
	}
	if err := w.start(sync); err != nil {
		return nil, err
	}
	return w, nil
}

// An Owner is who gets the files of a Writer that runs as another user.
type Owner struct {
	UID int `json:"uid"`
	GID int `json:"gid"`
}

// own gives a file that was made to the owner.
func (w *Writer) own(path string) error {
	if w.owner == nil {
		return nil
	}
	return os.Lchown(path, w.owner.UID, w.owner.GID)
}

// start opens what a writer of a folder needs.
func (w *Writer) start(sync func([]string) error) (err error) {
	w.begun, err = os.OpenFile(filepath.Join(w.dir, openName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		w.durable = newSyncer(sync, w.failed)
	}
	return err
}

// path is where a file of the tape is.
func (w *Writer) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

// Apply writes one step of a recording. An error names the file that could not
// be written; the exchange that it belongs to is written no further.
func (w *Writer) Apply(r Record) error {
	w.gate.RLock()
	defer w.gate.RUnlock()
	if w.closed {
		return fmt.Errorf("tape %s: %w", w.dir, os.ErrClosed)
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("tape %s: %w", w.dir, err)
	}
	switch r.Kind {
	case FileRecord, StreamRecord:
		return w.exchange(&r)
	case LinesRecord:
		o, err := w.lookup(r.ID, r.Last)
		if err == nil && o == nil {
			err = fmt.Errorf("tape %s: a record for exchange %d, which is not open", w.dir, r.ID)
		}
		if err != nil {
			return err
		}
		return w.append(o, &r)
	default:
		return w.note(&r)
	}
}

// lookup finds an exchange that is open, here or where an earlier writer left it;
// nil if there is none.
func (w *Writer) lookup(id int64, last bool) (*openExchange, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.open[id]
	if o == nil {
		var err error
		if o, err = w.resume(id); err != nil {
			return nil, err
		}
	}
	if o != nil && last {
		delete(w.open, id)
	}
	return o, nil
}

// exchange writes an exchange file. One that ends with its first record takes one
// file, made in one write, and leaves nothing to remember.
func (w *Writer) exchange(r *Record) error {
	o, err := w.lookup(r.ID, r.Last)
	if err != nil {
		return err
	}
	if o == nil && r.Last && r.Kind == FileRecord {
		if err := w.createFile(r.File, r.Data); err != nil {
			if !errors.Is(err, errTaken) {
				w.failed(err)
			}
			return err
		}
		w.durable.add(r.File)
		return nil
	}
	isNew := o == nil
	if isNew {
		if o, err = w.begin(r); err != nil {
			return err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	if r.Kind == StreamRecord && o.out == nil {
		if err := w.fail(o, w.openStream(o)); err != nil {
			return err
		}
	}
	if isNew && !w.resumed {
		err = w.createFile(o.file, r.Data)
	} else {
		err = w.replaceFile(o.file, r.Data, false)
	}
	if err == nil && r.Last {
		err = w.finish(o)
	}
	return w.fail(o, err)
}

// begin remembers an exchange that is written before its end.
func (w *Writer) begin(r *Record) (*openExchange, error) {
	o := &openExchange{file: r.File}
	if _, err := os.Lstat(w.path(r.File)); err == nil && !w.resumed {
		return nil, w.taken(r.File)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := fmt.Fprintf(w.begun, "%d %s\n", r.ID, o.file); err != nil {
		return nil, err
	}
	if !r.Last {
		w.open[r.ID] = o
	}
	return o, nil
}

// fail keeps the first failure of an exchange, and passes it on.
func (w *Writer) fail(o *openExchange, err error) error {
	if err == nil || o.err != nil {
		return err
	}
	o.err = err
	if o.out != nil {
		_ = o.out.Close()
		o.out = nil
	}
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

// append writes lines in one write, so that only a crash of the machine or a full
// disk can leave half of one. Those that are there already are passed over.
func (w *Writer) append(o *openExchange, r *Record) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	data := r.Data
	for there := o.lines - (r.Nth - 1); there > 0 && len(data) > 0; there-- {
		data = data[bytes.IndexByte(data, '\n')+1:]
	}
	if o.out == nil {
		if err := w.fail(o, w.openStream(o)); err != nil {
			return err
		}
	}
	if len(data) > 0 {
		if n, err := o.out.Write(data); err != nil {
			o.cutBack(n)
			return w.fail(o, err)
		}
		o.lines += int64(bytes.Count(data, []byte{'\n'}))
	}
	if r.Last {
		return w.fail(o, w.finish(o))
	}
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

// openStream makes the stream file.
func (w *Writer) openStream(o *openExchange) (err error) {
	path := w.path(streamOf(o.file))
	if o.out, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600); err != nil {
		return err
	}
	return w.own(path)
}

// finish closes an exchange that is done, and has it made durable.
func (w *Writer) finish(o *openExchange) error {
	files := []string{o.file}
	var err error
	if o.out != nil {
		files = append(files, streamOf(o.file))
		err = o.out.Close()
		o.out = nil
	}
	w.durable.add(files...)
	return err
}

// note takes a record that belongs to no exchange. There are few, and the manifest
// must never be half on the disk: this does wait for it.
func (w *Writer) note(r *Record) error {
	n, err := r.Note()
	if err != nil {
		return fmt.Errorf("tape %s: %w", w.dir, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := false
	if n.Opaque != nil {
		changed = w.manifest.addOpaque(*n.Opaque)
	}
	if n.Name != nil {
		changed = w.manifest.addName(*n.Name) || changed
	}
	if n.Problem != "" && !slices.Contains(w.manifest.Problems, n.Problem) {
		w.manifest.Problems = append(w.manifest.Problems, n.Problem)
		changed = true
	}
	if !changed {
		return nil
	}
	return w.replaceFile(manifestName, encodeManifest(&w.manifest), true)
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
		_ = w.leaveOpen(o) // kept by fail
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
	err := w.replaceFile(manifestName, encodeManifest(&w.manifest), true)
	return errors.Join(append(w.failures, err, os.Remove(w.begun.Name()))...)
}

// Leave ends the writer and not the recording: another goes on with it by Resume.
func (w *Writer) Leave() error {
	w.gate.Lock()
	defer w.gate.Unlock()
	if w.closed {
		return fmt.Errorf("tape %s: %w", w.dir, os.ErrClosed)
	}
	w.closed = true
	w.durable.close()
	return w.begun.Close()
}

// leaveOpen writes the end line of an exchange that had none, as far as it can be
// read: its recorder ended before it did.
func (w *Writer) leaveOpen(o *openExchange) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	x, last, ended, err := w.readOpen(o)
	if err != nil {
		return w.fail(o, err)
	}
	if !ended && x.Failed == "" {
		if x.Response != nil {
			last = max(last, x.Response.At)
		}
		line := append(AppendLine(nil, &Line{At: last, End: &httpstream.EndInfo{How: httpstream.Open}}), '\n')
		if o.out != nil {
			_, err = o.out.Write(line)
		} else {
			x.Lines = line
			var data []byte
			if data, err = encodeExchange(x); err == nil {
				err = w.replaceFile(o.file, data, false)
			}
		}
	}
	return w.fail(o, errors.Join(err, w.finish(o)))
}

var errTaken = errors.New("a second exchange has the same number")

func (w *Writer) taken(name string) error { return fmt.Errorf("%s: %w", w.path(name), errTaken) }

// createFile makes a file of the tape that was not there, in one write. What is half
// written is removed. An earlier writer may have made it just before it was killed.
func (w *Writer) createFile(name string, data []byte) error {
	path := w.path(name)
	err := createNew(path, data)
	switch {
	case err == nil:
		return w.own(path)
	case !errors.Is(err, fs.ErrExist):
		_ = os.Remove(path)
	case w.resumed:
		return w.replaceFile(name, data, false)
	default:
		return w.taken(name)
	}
	return err
}

// replaceFile replaces a file of the tape in one step; durable waits for the disk.
func (w *Writer) replaceFile(name string, data []byte, durable bool) error {
	path := w.path(name)
	dir, base := filepath.Split(path)
	temp := filepath.Join(dir, "."+base+".tmp")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = w.own(temp); err == nil {
		_, err = f.Write(data)
	}
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
