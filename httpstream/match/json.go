package match

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// errNotExact is returned for JSON whose meaning depends on who reads it:
// duplicate names, and strings that are not Unicode (RFC 8259 section 8.2).
var errNotExact = errors.New("json: duplicate name or invalid Unicode")

// maxDepth bounds nesting, as encoding/json does.
const maxDepth = 10000

// parseJSON reads one JSON text with its numbers as written.
func parseJSON(data []byte) (any, error) {
	if !utf8.Valid(data) || loneSurrogate(data) {
		return nil, errNotExact
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	x, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("json: data after the value")
	}
	return x, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxDepth {
		return nil, errors.New("json: nested too deep")
	}
	if delim == '[' {
		return parseArray(d, depth)
	}
	return parseObject(d, depth)
}

func parseArray(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		x, err := parseValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	_, err := d.Token()
	return list, err
}

func parseObject(d *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := t.(string)
		if _, dup := object[name]; dup {
			return nil, errNotExact
		}
		if object[name], err = parseValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return object, err
}

// loneSurrogate reports whether data has an escape for half a UTF-16 pair.
// encoding/json would read all of those as U+FFFD, and so as equal.
func loneSurrogate(data []byte) bool {
	for {
		i := bytes.IndexByte(data, '\\')
		if i < 0 || i+1 >= len(data) {
			return false
		}
		data = data[i:]
		unit, ok := escapedUnit(data)
		switch {
		case !ok:
			data = data[2:]
		case unit < 0xd800 || unit > 0xdfff:
			data = data[6:]
		default:
			low, ok := escapedUnit(data[6:])
			if unit > 0xdbff || !ok || low < 0xdc00 || low > 0xdfff {
				return true
			}
			data = data[12:]
		}
	}
}

// escapedUnit reads the \uXXXX that data begins with.
func escapedUnit(data []byte) (uint64, bool) {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return 0, false
	}
	u, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	return u, err == nil
}

// appendCanonical appends a form of x that is the same for equal values and
// different for different ones: strings carry their length, names are sorted
// and numbers are exact decimals.
func appendCanonical(b []byte, x any) []byte {
	switch x := x.(type) {
	case map[string]any:
		b = append(b, '{')
		for _, name := range slices.Sorted(maps.Keys(x)) {
			b = appendString(b, name)
			b = appendCanonical(b, x[name])
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for _, e := range x {
			b = appendCanonical(b, e)
		}
		return append(b, ']')
	case string:
		return appendString(b, x)
	case json.Number:
		b = append(b, 'n')
		b = append(b, canonicalNumber(string(x))...)
		return append(b, ';')
	case bool:
		if x {
			return append(b, 't')
		}
		return append(b, 'f')
	default:
		return append(b, 'z')
	}
}

func appendString(b []byte, s string) []byte {
	b = append(b, 's')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}

// canonicalNumber writes a JSON number as digits without leading or trailing
// zeros and a power of ten, so 1, 1.0 and 10e-1 are all "1e0". No digit is
// lost, however many there are, and -0 is 0.
func canonicalNumber(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	mantissa, power := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, power = s[:i], s[i+1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "0"
	}
	trimmed := strings.TrimRight(digits, "0")
	return sign + trimmed + "e" + addPower(power, len(digits)-len(trimmed)-len(fraction))
}

// addPower adds n to an exponent of any length.
func addPower(power string, n int) string {
	if power == "" {
		power = "0"
	}
	if p, err := strconv.ParseInt(power, 10, 32); err == nil {
		return strconv.FormatInt(p+int64(n), 10)
	}
	p, ok := new(big.Int).SetString(strings.TrimPrefix(power, "+"), 10)
	if !ok {
		return power
	}
	return p.Add(p, big.NewInt(int64(n))).String()
}
