package tape

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A step is one record before it is encoded.
type step struct {
	ID       int64
	Exchange *Exchange
	Line     *Line
	Nth      int64
	Done     bool
	Opaque   *Opaque
	Name     *Name
	Problem  string
}

// A teller makes records of the steps of exchanges that are written before they end:
// with its first line, each has a stream.
type teller struct {
	mu sync.Mutex
	e  Encoder
	at map[int64]*told
}

type told struct {
	x     Exchange
	lines int64
}

func (s step) tell(t *teller, emit func(Record) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		t.at = map[int64]*told{}
	}
	x := t.at[s.ID]
	file := func() error {
		r, err := t.e.File(s.ID, &x.x)
		r.Last = s.Done
		return errors.Join(err, emit(r))
	}
	switch {
	case s.Exchange != nil:
		if x == nil {
			x = &told{}
			t.at[s.ID] = x
		}
		stream := x.x.Stream
		x.x = *s.Exchange
		x.x.Stream = stream
		return file()
	case s.Line != nil:
		if x == nil {
			x = &told{} // of an exchange that nobody began
		} else if x.x.Stream == "" {
			x.x.Stream = StreamOf(&x.x)
			if err := file(); err != nil {
				return err
			}
		}
		x.lines++
		if s.Nth == 0 {
			s.Nth = x.lines
		}
		return emit(t.e.Lines(s.ID, s.Nth, s.Line))
	case s.Done:
		return file()
	}
	r, err := Note{Opaque: s.Opaque, Name: s.Name, Problem: s.Problem}.Record()
	return errors.Join(err, emit(r))
}

// tellAll are the records of steps.
func tellAll(t *testing.T, steps []step) (list []Record) {
	t.Helper()
	var teller teller
	for _, s := range steps {
		err := s.tell(&teller, func(r Record) error {
			r.Data = bytes.Clone(r.Data)
			list = append(list, r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func applyAll(t *testing.T, w *Writer, records ...Record) {
	t.Helper()
	for _, r := range records {
		if err := w.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
}

func apply(t *testing.T, w *Writer, steps ...step) {
	t.Helper()
	applyAll(t, w, tellAll(t, steps)...)
}

func TestRecordsTravelAsTheyAre(t *testing.T) {
	for seed := range uint64(300) {
		var wire []byte
		want := tellAll(t, newGenerator(seed).records())
		for i := range want {
			want[i].ID *= int64(i%3) - 1
			wire = want[i].Append(wire)
		}
		for i := range want {
			head := wire[:bytes.IndexByte(wire, '\n')+1]
			size, err := RecordSize(head)
			if err != nil || !IsRecord(head) {
				t.Fatalf("%q %v", head, err)
			}
			got, err := ParseRecord(wire[:len(head)+size])
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want[i], got); d != "" {
				t.Fatalf("seed %d: %s", seed, d)
			}
			wire = wire[len(head)+size:]
		}
		if len(wire) != 0 {
			t.Fatalf("seed %d: %d bytes are left", seed, len(wire))
		}
	}
}

func TestARecordWritesNowhereButIntoItsTape(t *testing.T) {
	dir := t.TempDir() + "/tape"
	w, err := Create(dir, manifest())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(nil)
	for _, name := range []string{
		"", "tape.yaml", "calls", "calls/", "calls/.yaml", "calls/..yaml", "calls/.open.yaml", "/etc/passwd.yaml", "calls/../tape.yaml",
		"calls/../../x.yaml", "../calls/0001.yaml", "calls/a/b.yaml", `calls/a\b.yaml`, "calls/a:b.yaml", "calls/a b.yaml", "calls/a\x00.yaml",
		"streams/call-0001.yaml", "streams/x.ndjson", "calls/0001.ndjson", "calls/é.yaml", "CALLS/0001.yaml", "calls/" + string(bytes.Repeat([]byte("a"), 200)) + ".yaml",
	} {
		for _, kind := range []RecordKind{FileRecord, StreamRecord} {
			for _, last := range []bool{true, false} {
				r := Record{Kind: kind, ID: 1, Last: last, File: name, Data: []byte("call: 1\n")}
				if err := w.Apply(r); err == nil {
					t.Errorf("%q was written", name)
				}
				if _, err := ParseRecord(r.Append(nil)); err == nil {
					t.Errorf("%q was read", name)
				}
			}
		}
	}
	if got := files(t, dir); len(got) != 1 || got["/.open"] != "" {
		t.Errorf("files: %v", got)
	}
}

func TestBrokenRecordsAreRefused(t *testing.T) {
	for _, wire := range []string{
		"@", "@f", "@f 1 0 1 3\n", "@x 1 0 1 2 calls/0001.yaml\nab", "@f one 0 1 2 calls/0001.yaml\nab", "@f 1 0 2 2 calls/0001.yaml\nab",
		"@f 1 0 1 -2 calls/0001.yaml\nab", "@f 1 0 1 99999999999 calls/0001.yaml\nab", "@f 1 0 1 3 calls/0001.yaml\nab",
		"@l 1 1 0 2 \nab", "@l 1 0 0 3 \nab\n", "@l 1 1 0 0 \n", `{"record":{}}` + "\n",
	} {
		if r, err := ParseRecord([]byte(wire)); err == nil {
			t.Errorf("%q was read as %+v", wire, r)
		}
	}
}

func FuzzRecord(f *testing.F) {
	r := Record{Kind: StreamRecord, ID: 7, File: "calls/0007-get-a.yaml", Data: []byte("call: 7\n")}
	f.Add(r.Append(nil))
	f.Add([]byte("@l 7 3 1 3 \n{}\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, err := ParseRecord(wire)
		if err != nil {
			return
		}
		got, err := ParseRecord(r.Append(nil))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(r) {
			t.Fatalf("%q: %v %v", wire, got, err)
		}
	})
}
