package tape

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A Tape is a recording read from disk, without its streams.
type Tape struct {
	Dir      string
	Manifest Manifest
	Calls    []*Exchange // by number
	Cases    []*Exchange
	// CutOff are the exchange files of a recording that was not completed of which only
	// a part reached the disk. Their exchanges are not among Calls and Cases.
	CutOff []*FormatError

	blocks blocks
	// edited are the small answers that have another length than their heads say, with
	// that length.
	edited map[*Exchange]int64
}

// Open reads the manifest and all exchange files. Where files are broken, the
// error joins one *FormatError for each. A folder without a tape gives a
// *FormatError that is fs.ErrNotExist.
func Open(dir string) (*Tape, error) {
	file := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noTape(dir)
	}
	if err != nil {
		return nil, err
	}
	t := &Tape{Dir: dir, edited: map[*Exchange]int64{}}
	if t.Manifest, err = decodeManifest(data, dir, file); err != nil {
		return nil, err
	}
	var broken []error
	for _, d := range []struct {
		kind Kind
		name string
		into *[]*Exchange
	}{{Call, callsDir, &t.Calls}, {Case, casesDir, &t.Cases}} {
		list, err := t.readExchanges(filepath.Join(dir, d.name), d.kind)
		if t.Manifest.Version < 2 {
			err = append(err, notInVersion1(list)...)
		}
		*d.into = list
		broken = append(broken, t.setCutOffAside(err)...)
	}
	if len(broken) > 0 {
		return nil, errors.Join(broken...)
	}
	return t, nil
}

// setCutOffAside keeps the errors of files that are cut off, if the recording was, and
// returns the others.
func (t *Tape) setCutOffAside(errs []error) []error {
	if t.Manifest.Complete {
		return errs
	}
	return slices.DeleteFunc(errs, func(err error) bool {
		fe := (*FormatError)(nil)
		if !errors.As(err, &fe) || !errors.Is(err, ErrTruncated) {
			return false
		}
		t.CutOff = append(t.CutOff, fe)
		return true
	})
}

// readExchanges reads the exchange files of one folder; a folder that is not
// there is one without exchanges, because git keeps no empty folders.
func (t *Tape) readExchanges(dir string, kind Kind) (list []*Exchange, broken []error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []error{err}
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, []error{err}
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".yaml")
	})
	slices.Sort(names)
	list, errs := t.decodeFiles(folder{d}, dir, names, kind)
	list = slices.DeleteFunc(list, func(x *Exchange) bool { return x == nil })
	slices.SortFunc(list, func(a, b *Exchange) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), strings.Compare(a.File, b.File))
	})
	kept := list[:0]
	for _, x := range list {
		if n := len(kept); n > 0 && kept[n-1].Number == x.Number {
			errs = append(errs, &FormatError{File: x.File, Line: 1, Msg: "has the same number as " + filepath.Base(kept[n-1].File)})
			continue
		}
		kept = append(kept, x)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(fileOf(a), fileOf(b)) })
	return kept, errs
}

// fileOf is the file that an error of reading one is about.
func fileOf(err error) string {
	var format *FormatError
	var path *fs.PathError
	switch {
	case errors.As(err, &format):
		return format.File
	case errors.As(err, &path):
		return path.Path
	}
	return ""
}

// decodeFiles reads files on all processors, each to its place in the list; there is
// none for one that is broken.
func (t *Tape) decodeFiles(d folder, dir string, names []string, kind Kind) (list []*Exchange, broken []error) {
	list = make([]*Exchange, len(names))
	var mu sync.Mutex // guards broken and t.edited
	onAllProcessors(len(names), func() func(int) {
		r := fileReader{folder: d, dir: dir + string(filepath.Separator), kind: kind, quick: newQuickReader(), buf: make([]byte, 64<<10)}
		return func(i int) {
			x, err := r.exchange(names[i])
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				broken = append(broken, err)
				return
			}
			list[i] = x
			x.leaveBody()
			if size, edited := x.leaveLines(); edited {
				mu.Lock()
				defer mu.Unlock()
				t.edited[x] = size
			}
		}
	})
	return list, broken
}

// onAllProcessors calls what begin returns with 0 to n-1, in no order; each of the
// goroutines that do so begins for itself.
func onAllProcessors(n int, begin func() func(int)) {
	const batch = 64
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+batch-1)/batch) {
		wg.Go(func() {
			do := begin()
			for {
				from := int(next.Add(batch)) - batch
				if from >= n {
					return
				}
				for i := from; i < min(n, from+batch); i++ {
					do(i)
				}
			}
		})
	}
	wg.Wait()
}

// A fileReader reads the exchange files of a folder.
type fileReader struct {
	folder folder
	dir    string // with a separator behind it
	kind   Kind
	quick  *quickReader
	buf    []byte
}

func (r *fileReader) exchange(name string) (x *Exchange, err error) {
	file := r.dir + name
	data, ok := r.folder.read(name, r.buf)
	if r.buf = data; !ok {
		if data, err = os.ReadFile(file); err != nil {
			return nil, err
		}
	}
	if x, ok = r.quick.decode(data, file); !ok {
		if x, err = decodeExchange(data, file); err != nil {
			return nil, cmp.Or(cutOff(data, file), err)
		}
	}
	if !x.linesInFile() && !x.HasStream() && x.Failed == "" && !bytes.HasSuffix(data, []byte("\n")) {
		return nil, cutOff(data, file) // a part that can be read is not the whole
	}
	if x.Kind != r.kind {
		return nil, &FormatError{File: file, Line: 1, Msg: "a " + string(x.Kind) + " in the folder of the " + string(r.kind) + "s"}
	}
	return x, nil
}

// cutOff is the error for a file of which only a part is on the disk, as a power cut
// leaves it: nothing, zeros, or what fills its pages. It is nil if the file is whole.
func cutOff(data []byte, file string) error {
	const page = 4096
	e := &FormatError{File: file, Hint: "record the tape again, or remove the file", Err: ErrTruncated}
	switch {
	case len(data) == 0:
		e.Msg = "the file is empty: the recording was cut off"
	case bytes.IndexByte(data, 0) >= 0:
		e.Line = 1 + bytes.Count(data[:bytes.IndexByte(data, 0)], []byte("\n"))
		e.Msg = "the file has zeros in it: the recording was cut off"
	case data[len(data)-1] != '\n':
		e.Line = 1 + bytes.Count(data, []byte("\n"))
		e.Msg = "the last line is half written: the recording was cut off"
	case len(data)%page == 0:
		e.Line = bytes.Count(data, []byte("\n"))
		e.Msg = "the file stops here: the recording was cut off"
	default:
		return nil
	}
	return e
}

// notInVersion1 finds what only newer formats have.
func notInVersion1(list []*Exchange) (broken []error) {
	for _, x := range list {
		if len(x.Cases) > 0 {
			broken = append(broken, &FormatError{
				File: x.File, Line: 1, Msg: `has the key "cases", which format 1 has not`,
				Hint: "name the one case that it belongs to with case, or record the tape again",
			})
		}
		if x.linesInFile() {
			broken = append(broken, &FormatError{
				File: x.File, Line: x.LinesAbove, Msg: `has the key "lines", which format 1 has not`,
				Hint: "put the lines into a file in " + streamsDir + "/ and name it with stream, or record the tape again",
			})
		}
	}
	return broken
}
