package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may nest; what is deeper is no JSON here.
const maxDepth = 1000

// A document is a JSON text (RFC 8259). Its value is made of map[string]any,
// []any, string, json.Number, bool and nil, as the JSONPath library wants it.
// Unlike encoding/json it loses nothing: ill-formed UTF-8 and lone surrogates
// stay what they are instead of becoming U+FFFD, and repeated names are kept.
type document struct {
	value   any
	repeats []repeat
}

// A repeat is a name that occurs more than once in an object; the last value is
// the one in the map.
type repeat struct {
	at    *place
	value any // an earlier value
}

type jsonDecoder struct {
	in      []byte
	pos     int
	repeats []repeat
}

var errDepth = fmt.Errorf("nested deeper than %d", maxDepth)

// parseJSON parses the whole of b. It keeps no reference to b.
func parseJSON(b []byte) (*document, error) {
	d := &jsonDecoder{in: b}
	d.space()
	v, err := d.value(nil, 0)
	if err == nil {
		d.space()
		if d.pos < len(d.in) {
			err = d.unexpected("the end")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("at byte %d: %w", d.pos, err)
	}
	return &document{value: v, repeats: d.repeats}, nil
}

func (d *jsonDecoder) space() {
	for d.pos < len(d.in) {
		switch d.in[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

func (d *jsonDecoder) unexpected(want string) error {
	if d.pos >= len(d.in) {
		return fmt.Errorf("it ends where %s should be", want)
	}
	return fmt.Errorf("%q where %s should be", d.in[d.pos], want)
}

func (d *jsonDecoder) value(at *place, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	if d.pos >= len(d.in) {
		return nil, d.unexpected("a value")
	}
	switch c := d.in[d.pos]; {
	case c == '{':
		return d.object(at, depth)
	case c == '[':
		return d.array(at, depth)
	case c == '"':
		return d.str()
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	case c == 't':
		return true, d.word("true")
	case c == 'f':
		return false, d.word("false")
	case c == 'n':
		return nil, d.word("null")
	}
	return nil, d.unexpected("a value")
}

func (d *jsonDecoder) word(w string) error {
	if len(d.in)-d.pos < len(w) || string(d.in[d.pos:d.pos+len(w)]) != w {
		return d.unexpected(w)
	}
	d.pos += len(w)
	return nil
}

func (d *jsonDecoder) object(at *place, depth int) (any, error) {
	d.pos++
	m := map[string]any{}
	d.space()
	if d.pos < len(d.in) && d.in[d.pos] == '}' {
		d.pos++
		return m, nil
	}
	for {
		d.space()
		if d.pos >= len(d.in) || d.in[d.pos] != '"' {
			return nil, d.unexpected("a name")
		}
		name, err := d.str()
		if err != nil {
			return nil, err
		}
		d.space()
		if d.pos >= len(d.in) || d.in[d.pos] != ':' {
			return nil, d.unexpected("a colon")
		}
		d.pos++
		d.space()
		member := at.name(name)
		v, err := d.value(member, depth+1)
		if err != nil {
			return nil, err
		}
		if old, ok := m[name]; ok {
			d.repeats = append(d.repeats, repeat{member, old})
		}
		m[name] = v
		if done, err := d.next('}'); done || err != nil {
			return m, err
		}
	}
}

func (d *jsonDecoder) array(at *place, depth int) (any, error) {
	d.pos++
	a := []any{}
	d.space()
	if d.pos < len(d.in) && d.in[d.pos] == ']' {
		d.pos++
		return a, nil
	}
	for {
		d.space()
		v, err := d.value(at.index(len(a)), depth+1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
		if done, err := d.next(']'); done || err != nil {
			return a, err
		}
	}
}

// next takes a comma, or the end of the object or array.
func (d *jsonDecoder) next(end byte) (done bool, err error) {
	d.space()
	if d.pos < len(d.in) {
		switch d.in[d.pos] {
		case ',':
			d.pos++
			return false, nil
		case end:
			d.pos++
			return true, nil
		}
	}
	return false, d.unexpected("a comma or " + string(end))
}

func (d *jsonDecoder) number() (any, error) {
	start := d.pos
	if d.in[d.pos] == '-' {
		d.pos++
	}
	switch {
	case d.pos < len(d.in) && d.in[d.pos] == '0':
		d.pos++
	case d.digits() == 0:
		return nil, d.unexpected("a digit")
	}
	if d.pos < len(d.in) && d.in[d.pos] == '.' {
		d.pos++
		if d.digits() == 0 {
			return nil, d.unexpected("a digit")
		}
	}
	if d.pos < len(d.in) && (d.in[d.pos] == 'e' || d.in[d.pos] == 'E') {
		d.pos++
		if d.pos < len(d.in) && (d.in[d.pos] == '+' || d.in[d.pos] == '-') {
			d.pos++
		}
		if d.digits() == 0 {
			return nil, d.unexpected("a digit")
		}
	}
	return json.Number(d.in[start:d.pos]), nil
}

func (d *jsonDecoder) digits() int {
	start := d.pos
	for d.pos < len(d.in) && d.in[d.pos] >= '0' && d.in[d.pos] <= '9' {
		d.pos++
	}
	return d.pos - start
}

var errString = errors.New("the string is not closed")

func (d *jsonDecoder) str() (string, error) {
	d.pos++
	start := d.pos
	for d.pos < len(d.in) && d.in[d.pos] != '"' && d.in[d.pos] != '\\' && d.in[d.pos] >= ' ' {
		d.pos++
	}
	out := d.in[start:d.pos:d.pos]
	for d.pos < len(d.in) {
		switch c := d.in[d.pos]; {
		case c == '"':
			d.pos++
			return string(out), nil
		case c == '\\':
			var err error
			if out, err = d.escape(out); err != nil {
				return "", err
			}
		case c < ' ':
			return "", d.unexpected("no control character")
		default:
			out = append(out, c)
			d.pos++
		}
	}
	return "", errString
}

func (d *jsonDecoder) escape(out []byte) ([]byte, error) {
	d.pos++
	if d.pos >= len(d.in) {
		return nil, errString
	}
	c := d.in[d.pos]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		d.pos++
		return d.unicode(out)
	default:
		return nil, d.unexpected("an escape")
	}
	d.pos++
	return append(out, c), nil
}

// unicode decodes the hex digits of \uXXXX, and a second escape where the two
// make a surrogate pair.
func (d *jsonDecoder) unicode(out []byte) ([]byte, error) {
	r, err := d.hex4()
	if err != nil {
		return nil, err
	}
	if r >= 0xd800 && r < 0xdc00 && d.pos+1 < len(d.in) && d.in[d.pos] == '\\' && d.in[d.pos+1] == 'u' {
		mark := d.pos
		d.pos += 2
		low, err := d.hex4()
		if err != nil {
			return nil, err
		}
		if low >= 0xdc00 && low < 0xe000 {
			return utf8.AppendRune(out, 0x10000+(r-0xd800)<<10+(low-0xdc00)), nil
		}
		d.pos = mark
	}
	if r >= 0xd800 && r < 0xe000 {
		// A lone surrogate keeps its identity as the three bytes that it would
		// have if it were a character (WTF-8).
		return append(out, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f), nil
	}
	return utf8.AppendRune(out, r), nil
}

func (d *jsonDecoder) hex4() (rune, error) {
	var r rune
	for range 4 {
		if d.pos >= len(d.in) {
			return 0, errString
		}
		c := d.in[d.pos]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, d.unexpected("a hexadecimal digit")
		}
		r = r<<4 | rune(c)
		d.pos++
	}
	return r, nil
}
