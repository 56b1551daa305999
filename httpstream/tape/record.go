package tape

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Record is one step of a recording as it happens: bytes of the tape, as they
// stand in its files, with what a Writer must know to put them there. It may come
// from another process, which then made the bytes; nobody on the way reads them.
type Record struct {
	Kind RecordKind
	ID   int64 // of the exchange, unique in a recording; 0 in a note
	// Last is set in the last record of an exchange.
	Last bool
	// Nth counts the first of the lines among the exchange's, from 1, so that a
	// Writer that gets lines again knows them.
	Nth int64
	// File is the exchange file inside the tape, with slashes; empty with lines and notes.
	File string
	Data []byte
}

// A RecordKind says what the Data of a Record is.
type RecordKind byte

const (
	FileRecord   RecordKind = 'f' // the exchange file as it is from now on
	StreamRecord RecordKind = 's' // as FileRecord, and the exchange has a stream file, which is made first
	LinesRecord  RecordKind = 'l' // whole lines for the end of the stream file
	NoteRecord   RecordKind = 'n' // a Note, as JSON
)

// A Note is what belongs to no exchange; one field is set.
type Note struct {
	Opaque  *Opaque `json:"opaque,omitempty"`
	Name    *Name   `json:"name,omitempty"`
	Problem string  `json:"problem,omitempty"` // marks the recording incomplete
}

const (
	// recordMark begins the head of a record, which has a line of its own, and no
	// line of JSON.
	recordMark = '@'
	// maxRecord bounds the data of a record, in bytes.
	maxRecord = 64 << 20
	// maxFileName bounds the name of an exchange file.
	maxFileName = 128
)

// Note reads the note of a record that has one.
func (r *Record) Note() (n Note, err error) {
	if err = json.Unmarshal(r.Data, &n); err != nil {
		err = fmt.Errorf("a note: %w", err)
	}
	return n, err
}

// Record makes a note travel.
func (n Note) Record() (Record, error) {
	data, err := json.Marshal(n)
	return Record{Kind: NoteRecord, Data: data}, err
}

// IsRecord reports whether a line of a talk is the head of a record.
func IsRecord(line []byte) bool { return len(line) > 0 && line[0] == recordMark }

// Append appends the record as it travels: a line with its head, and its data.
func (r *Record) Append(b []byte) []byte {
	b = append(b, recordMark, byte(r.Kind), ' ')
	b = strconv.AppendInt(b, r.ID, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, r.Nth, 10)
	last := byte('0')
	if r.Last {
		last = '1'
	}
	b = append(b, ' ', last, ' ')
	b = strconv.AppendInt(b, int64(len(r.Data)), 10)
	b = append(b, ' ')
	b = append(b, r.File...)
	b = append(b, '\n')
	return append(b, r.Data...)
}

// RecordSize is how many bytes of data follow the head of a record, with its line feed.
func RecordSize(head []byte) (int, error) {
	_, size, err := parseHead(string(bytes.TrimSuffix(head, []byte("\n"))))
	return size, err
}

// ParseRecord reads what Append appended. The record's data is a part of wire.
func ParseRecord(wire []byte) (Record, error) {
	head, data, _ := bytes.Cut(wire, []byte("\n"))
	r, size, err := parseHead(string(head))
	if err != nil {
		return r, err
	}
	if len(data) != size {
		return r, fmt.Errorf("a record has %d bytes of data: expected %d", len(data), size)
	}
	r.Data = data
	return r, r.check()
}

func parseHead(head string) (r Record, size int, err error) {
	word := func() (w string) {
		w, head, _ = strings.Cut(head, " ")
		return w
	}
	bad := fmt.Errorf("the head of a record is not understood: %.200q", head)
	kind := word()
	if len(kind) != 2 || kind[0] != recordMark {
		return r, 0, bad
	}
	r.Kind = RecordKind(kind[1])
	var errs [3]error
	r.ID, errs[0] = strconv.ParseInt(word(), 10, 64)
	r.Nth, errs[1] = strconv.ParseInt(word(), 10, 64)
	last := word()
	r.Last = last == "1"
	size, errs[2] = strconv.Atoi(word())
	if errors.Join(errs[:]...) != nil || !r.Last && last != "0" || size < 0 || size > maxRecord {
		return r, 0, bad
	}
	r.File = head
	return r, size, nil
}

// check holds what keeps a Writer inside its folder and its files readable, whoever
// made the record.
func (r *Record) check() error {
	switch r.Kind {
	case FileRecord, StreamRecord:
		if !validFile(r.File) {
			return fmt.Errorf("a record for the file %.200q, which no tape has", r.File)
		}
	case LinesRecord:
		if r.Nth < 1 || len(r.Data) == 0 || r.Data[len(r.Data)-1] != '\n' {
			return errors.New("a record with half a line, or whose lines are not counted")
		}
	case NoteRecord:
	default:
		return fmt.Errorf("a record of the kind %q", rune(r.Kind))
	}
	return nil
}

// validFile reports whether an exchange file may have the name: one that fileNames makes.
func validFile(name string) bool {
	dir, base, _ := strings.Cut(name, "/")
	base, yaml := strings.CutSuffix(base, ".yaml")
	if dir != callsDir && dir != casesDir || !yaml || base == "" || base[0] == '.' || len(name) > maxFileName {
		return false
	}
	for i := range len(base) {
		if c := base[i]; c != '.' && c != '_' && c != '-' && !isAlphanumeric(c) {
			return false
		}
	}
	return true
}

// Exchange reads the exchange file of a record that has one.
func (r *Record) Exchange() (*Exchange, error) {
	x, err := decodeExchange(r.Data, r.File)
	if err != nil {
		return nil, err
	}
	x.File, x.LinesAbove = "", 0
	return x, nil
}

// Renumbered returns the record with another number in its exchange file and in the
// names of its files.
func (r Record) Renumbered(number int) (Record, error) {
	if r.Kind != FileRecord && r.Kind != StreamRecord {
		return r, nil
	}
	x, err := r.Exchange()
	if err != nil {
		return r, err
	}
	x.Number = number
	if x.Stream != "" {
		x.Stream = StreamOf(x)
	}
	again, err := new(Encoder).File(r.ID, x)
	again.Last = r.Last
	return again, err
}

const (
	// maxSmall is how long the lines of an answer may be, in bytes, that stand in
	// the exchange file.
	maxSmall = 16 << 10
	// maxBuffer is what an Encoder keeps of a buffer that a long line made grow.
	maxBuffer = 256 << 10
)

// An Encoder makes records. The data of each is valid until the method that made it
// is called again.
type Encoder struct {
	file, lines []byte
}

// File makes the record of an exchange's file as it is now.
func (e *Encoder) File(id int64, x *Exchange) (Record, error) {
	r := Record{Kind: FileRecord, ID: id}
	if x.Stream != "" {
		r.Kind = StreamRecord
	}
	if cap(e.file) > maxBuffer {
		e.file = nil
	}
	var err error
	r.Data, err = appendExchange(e.file[:0], x)
	e.file = r.Data
	r.File, _ = fileNames(x)
	return r, err
}

// Lines makes the record of lines of a stream, the first of which is the nth.
func (e *Encoder) Lines(id, nth int64, lines ...*Line) Record {
	if cap(e.lines) > maxBuffer {
		e.lines = nil
	}
	e.lines = e.lines[:0]
	for _, l := range lines {
		e.lines = append(AppendLine(e.lines, l), '\n')
	}
	return Record{Kind: LinesRecord, ID: id, Nth: nth, Data: e.lines}
}

// Whole makes the records of a finished exchange. It is one if the answer is small.
func (e *Encoder) Whole(id int64, x *Exchange, lines ...*Line) ([]Record, error) {
	whole := *x
	whole.Stream, whole.Lines = "", nil
	body := e.Lines(id, 1, lines...)
	small := len(body.Data) <= maxSmall
	for i, l := range lines {
		small = small && !l.FromClient && (i == 0 || l.End != nil)
	}
	if small && len(lines) > 0 {
		whole.Lines = body.Data
	} else if len(lines) > 0 {
		whole.Stream = StreamOf(x)
	}
	file, err := e.File(id, &whole)
	if err != nil {
		return nil, err
	}
	if whole.Stream == "" {
		file.Last = true
		return []Record{file}, nil
	}
	body.Last = true
	return []Record{file, body}, nil
}

// StreamOf is the name that the exchange's stream file has, if it has one, in the tape.
func StreamOf(x *Exchange) string {
	_, stream := fileNames(x)
	return stream
}
