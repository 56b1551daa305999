package tape

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Tape is a recording read from disk, without its streams.
type Tape struct {
	Dir      string
	Manifest Manifest
	Calls    []*Exchange // by number
	Cases    []*Exchange

	blocks blocks
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
	t := &Tape{Dir: dir}
	if t.Manifest, err = decodeManifest(data, dir, file); err != nil {
		return nil, err
	}
	var broken []error
	for _, d := range []struct {
		kind Kind
		name string
		into *[]*Exchange
	}{{Call, callsDir, &t.Calls}, {Case, casesDir, &t.Cases}} {
		list, err := readExchanges(filepath.Join(dir, d.name), d.kind)
		if t.Manifest.Version < 2 {
			err = append(err, notInVersion1(list)...)
		}
		*d.into = list
		broken = append(broken, err...)
	}
	if len(broken) > 0 {
		return nil, errors.Join(broken...)
	}
	return t, nil
}

// readExchanges reads the exchange files of one folder; a folder that is not
// there is one without exchanges, because git keeps no empty folders.
func readExchanges(dir string, kind Kind) (list []*Exchange, broken []error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, []error{err}
	}
	numbers := map[int]string{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), ".yaml") {
			continue
		}
		file := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(file)
		if err != nil {
			broken = append(broken, err)
			continue
		}
		x, err := decodeExchange(data, file)
		if err == nil {
			err = checkPlace(x, kind, numbers)
		}
		if err != nil {
			broken = append(broken, err)
			continue
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b *Exchange) int { return cmp.Compare(a.Number, b.Number) })
	return list, broken
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
		if x.Lines != nil {
			broken = append(broken, &FormatError{
				File: x.File, Line: x.LinesAbove, Msg: `has the key "lines", which format 1 has not`,
				Hint: "put the lines into a file in " + streamsDir + "/ and name it with stream, or record the tape again",
			})
		}
	}
	return broken
}

// checkPlace holds that the file is in the folder of its kind and that its number
// is its own.
func checkPlace(x *Exchange, kind Kind, numbers map[int]string) error {
	if x.Kind != kind {
		return &FormatError{File: x.File, Line: 1, Msg: "a " + string(x.Kind) + " in the folder of the " + string(kind) + "s"}
	}
	if other, taken := numbers[x.Number]; taken {
		return &FormatError{File: x.File, Line: 1, Msg: "has the same number as " + filepath.Base(other)}
	}
	numbers[x.Number] = x.File
	return nil
}
