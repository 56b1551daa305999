package compare

import (
	"bytes"
	"time"
)

// A parser cuts a body into units as its bytes come. What it emits never depends
// on how the bytes were split over writes.
type parser interface {
	write(at time.Duration, p []byte)
	// close emits what has no end; at is the time of the stream's end.
	close(at time.Duration)
	// held is what has been read of the unit that is not complete yet.
	held() int64
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
	emit    func(*unit)
	cur     *unit
	count   int
}

func (l *lineParser) write(at time.Duration, p []byte) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n') + 1
		complete := end > 0
		if !complete {
			end = len(p)
		}
		if l.cur == nil {
			l.cur = &unit{label: unitLine, hasBody: true, kind: asText}
			if l.records {
				l.cur.kind = asJSON
			}
		}
		l.cur.body.write(p[:end], l.limit)
		p = p[end:]
		if complete {
			l.finish(at)
		}
	}
}

func (l *lineParser) finish(at time.Duration) {
	u := l.cur
	l.cur = nil
	if l.records && !u.body.cut() {
		data := bytes.TrimPrefix(bytes.Trim(u.body.data, jsonSpace), []byte{0x1e})
		if len(data) == 0 {
			return
		}
		u.body.data, u.body.size = data, int64(len(data))
	}
	l.count++
	u.index, u.at = l.count, at
	l.emit(u)
}

// close emits a last line without an end, which is a line like any other.
func (l *lineParser) close(at time.Duration) {
	if l.cur != nil {
		l.cur.open = true
		l.finish(at)
	}
}

func (l *lineParser) held() int64 {
	if l.cur == nil {
		return 0
	}
	return l.cur.body.size
}
