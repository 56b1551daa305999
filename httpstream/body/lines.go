package body

import (
	"bytes"
	"time"
)

// text is cut into lines for the sake of what is shown; when they come says
// nothing, since nobody sends text line by line.
func text() Format {
	return Format{
		Name: "text", Unit: Line, Whole: Text,
		Types: []string{
			"application/xml", "application/javascript", "application/ecmascript", "application/yaml", "application/x-yaml",
			"application/toml", "application/graphql", "application/sql", "application/x-www-form-urlencoded",
			"text/*", "*+xml", "*+yaml",
		},
		New: func(_ string, limit int, emit func(*Unit)) Parser { return &lineParser{limit: limit, emit: emit} },
	}
}

// ndjson is a JSON text a line, under any of its names, and JSON text sequences
// (RFC 7464).
func ndjson() Format {
	return Format{
		Name: "ndjson", Unit: Line, Whole: JSON, Timed: true, Records: true,
		Types: []string{
			"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonl",
			"application/jsonlines", "application/json-lines", "application/x-jsonlines", "application/x-json-stream",
			"application/stream+json", "application/json-seq", "text/x-ndjson", "text/ndjson", "text/jsonl",
		},
		New: func(_ string, limit int, emit func(*Unit)) Parser {
			return &lineParser{records: true, limit: limit, emit: emit}
		},
	}
}

// jsonSpace is the insignificant white space of JSON (RFC 8259 section 2). Any
// other is a part of the record, and makes it no JSON.
const jsonSpace = " \t\r\n"

// A lineParser cuts text/* and NDJSON into lines at LF. A line of text keeps its
// end, because CRLF for LF is another text. A line of NDJSON loses it, and blank
// lines are no records; an RS before a record (RFC 7464) is dropped as well.
type lineParser struct {
	records bool
	limit   int
	emit    func(*Unit)
	cur     Unit
	begun   bool
	count   int
}

func (l *lineParser) Write(at time.Duration, p []byte) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n') + 1
		complete := end > 0
		if !complete {
			end = len(p)
		}
		if !l.begun {
			l.begun = true
			l.cur = Unit{Label: Line, HasBody: true, Kind: Text}
			if l.records {
				l.cur.Kind = JSON
			}
		}
		l.cur.Body.write(p[:end], l.limit)
		p = p[end:]
		if complete {
			l.finish(at)
		}
	}
}

func (l *lineParser) finish(at time.Duration) {
	u := &l.cur
	l.begun = false
	if l.records && !u.Body.Cut() {
		data := bytes.TrimPrefix(bytes.Trim(u.Body.Data, jsonSpace), []byte{0x1e})
		if len(data) == 0 {
			return
		}
		u.Body.Data, u.Body.Size = data, int64(len(data))
	}
	l.count++
	u.Index, u.At = l.count, at
	l.emit(u)
}

// Close emits a last line without an end, which is a line like any other.
func (l *lineParser) Close(at time.Duration) {
	if l.begun {
		l.cur.Open = true
		l.finish(at)
	}
}

func (l *lineParser) Held() int64 {
	if !l.begun {
		return 0
	}
	return l.cur.Body.Size
}
