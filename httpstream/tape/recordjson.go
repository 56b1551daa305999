package tape

import (
	"encoding/json"
	"strconv"
)

// recordJSON is a Record on a pipe. An exchange travels as the text of its file,
// because that keeps bytes that are not UTF-8 and encoding/json does not.
type recordJSON struct {
	ID       int64   `json:"id,omitempty"`
	Exchange *string `json:"exchange,omitempty"`
	Line     *Line   `json:"line,omitempty"`
	Nth      int64   `json:"nth,omitempty"`
	Done     bool    `json:"done,omitempty"`
	Opaque   *Opaque `json:"opaque,omitempty"`
	Name     *Name   `json:"name,omitempty"`
	Problem  string  `json:"problem,omitempty"`
}

// AppendJSON appends the record as JSON without line breaks. Times are rounded
// down to microseconds, as on a tape. It is json.Marshal without its copies.
func (r *Record) AppendJSON(b []byte) ([]byte, error) {
	if r.Line != nil {
		b = append(b, `{"id":`...)
		b = strconv.AppendInt(b, r.ID, 10)
		if r.Nth > 0 {
			b = append(b, `,"nth":`...)
			b = strconv.AppendInt(b, r.Nth, 10)
		}
		b = append(b, `,"line":`...)
		b = AppendLine(b, r.Line)
		return append(b, '}'), nil
	}
	wire := recordJSON{ID: r.ID, Done: r.Done, Opaque: r.Opaque, Name: r.Name, Problem: r.Problem}
	if r.Exchange != nil {
		text, err := encodeExchange(r.Exchange)
		if err != nil {
			return b, err
		}
		s := string(text)
		wire.Exchange = &s
	}
	data, err := json.Marshal(&wire)
	return append(b, data...), err
}

// MarshalJSON is AppendJSON for encoding/json.
func (r Record) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil) }

// UnmarshalJSON reads what AppendJSON wrote; the result owns all its memory.
func (r *Record) UnmarshalJSON(data []byte) error {
	var wire recordJSON
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*r = Record{ID: wire.ID, Line: wire.Line, Nth: wire.Nth, Done: wire.Done, Opaque: wire.Opaque, Name: wire.Name, Problem: wire.Problem}
	if wire.Exchange == nil {
		return nil
	}
	x, err := decodeExchange([]byte(*wire.Exchange), "record")
	if err != nil {
		return err
	}
	x.File = ""
	r.Exchange = x
	return nil
}
