package http2

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"

	"github.com/wiretape/wiretape/httpstream"
)

// maxTable bounds the HPACK dynamic table of an observed direction. The true
// limit is what the peers agreed on; who goes over it fails at the peer.
const maxTable = 16 << 20

// A decoder decodes the field blocks of one direction, in order.
type decoder struct {
	hpack  *hpack.Decoder
	max    int // of the fields that decode returns
	fields []hpack.HeaderField
	size   int // of the fields of the last block
}

func newDecoder(limit int) *decoder {
	d := &decoder{max: limit}
	d.hpack = hpack.NewDecoder(4096, d.emit)
	d.hpack.SetAllowedMaxDynamicTableSize(maxTable)
	d.hpack.SetMaxStringLength(maxString)
	return d
}

func (d *decoder) emit(f hpack.HeaderField) {
	if d.size += int(f.Size()); d.size > d.max {
		d.hpack.SetEmitEnabled(false)
		return
	}
	d.fields = append(d.fields, f)
}

// decode returns the fields of a block; the slice is the caller's. After
// errTooLarge the next block can be decoded all the same.
func (d *decoder) decode(block []byte) ([]hpack.HeaderField, error) {
	d.fields, d.size = nil, 0
	d.hpack.SetEmitFunc(d.emit)
	d.hpack.SetEmitEnabled(true)
	if _, err := d.hpack.Write(block); err != nil {
		return nil, err
	}
	if err := d.hpack.Close(); err != nil {
		return nil, err
	}
	if d.size > d.max {
		return nil, errTooLarge
	}
	return d.fields, nil
}

// pipe decodes a piece of a block that is not held, and gives each of its fields
// that is complete to take, which may be nil.
func (d *decoder) pipe(piece []byte, last bool, take func(hpack.HeaderField)) error {
	if take != nil {
		d.hpack.SetEmitFunc(take)
	}
	d.hpack.SetEmitEnabled(take != nil)
	_, err := d.hpack.Write(piece)
	if err == nil && last {
		err = d.hpack.Close()
	}
	return err
}

// splitPseudo takes the pseudo-header fields off the front of a field section.
func splitPseudo(fields []hpack.HeaderField) (pseudo map[string]string, rest httpstream.Fields, err error) {
	pseudo = make(map[string]string, 5)
	for _, f := range fields {
		if !f.IsPseudo() {
			rest = append(rest, httpstream.Field{Name: f.Name, Value: f.Value})
			continue
		}
		if _, twice := pseudo[f.Name]; twice || rest != nil {
			return nil, nil, errors.New("a pseudo-header field out of place")
		}
		pseudo[f.Name] = f.Value
	}
	return pseudo, rest, nil
}

// requestHead reads a request's head (RFC 9113 section 8.3.1, RFC 8441 section 4).
func requestHead(fields []hpack.HeaderField) (*httpstream.RequestHead, error) {
	pseudo, header, err := splitPseudo(fields)
	if err != nil {
		return nil, err
	}
	h := &httpstream.RequestHead{
		Proto:     "HTTP/2.0",
		Method:    pseudo[":method"],
		Target:    pseudo[":path"],
		Scheme:    pseudo[":scheme"],
		Authority: pseudo[":authority"],
		Protocol:  pseudo[":protocol"],
		Header:    header,
	}
	if h.Authority == "" {
		h.Authority = header.Get("host")
	}
	switch {
	case h.Method == "":
		return nil, errors.New("request without :method")
	case isPlainConnect(h):
		h.Target = h.Authority
	case h.Target == "":
		return nil, errors.New("request without :path")
	}
	return h, nil
}

// isPlainConnect tells a CONNECT that has neither :scheme nor :path (RFC 9113 section 8.5).
func isPlainConnect(h *httpstream.RequestHead) bool { return h.Method == "CONNECT" && h.Protocol == "" }

// responseHead reads a response's head (RFC 9113 section 8.3.2).
func responseHead(fields []hpack.HeaderField) (*httpstream.ResponseHead, error) {
	pseudo, header, err := splitPseudo(fields)
	if err != nil {
		return nil, err
	}
	status, err := strconv.Atoi(pseudo[":status"])
	if err != nil || status < 100 || status > 999 {
		return nil, errors.New(":status is not a number of three digits")
	}
	return &httpstream.ResponseHead{Proto: "HTTP/2.0", Status: status, Header: header}, nil
}

// trailerOf reads a trailer section, which has no pseudo-header fields and ends
// its stream (RFC 9113 section 8.1).
func trailerOf(fields []hpack.HeaderField, endStream bool) (httpstream.Fields, error) {
	pseudo, trailer, err := splitPseudo(fields)
	switch {
	case err != nil:
		return nil, err
	case len(pseudo) > 0:
		return nil, errors.New("pseudo-header field in a trailer section")
	case !endStream:
		return nil, errors.New("trailer section that does not end the stream")
	}
	return trailer, nil
}

// requestFields returns the field section of a request whose head was read from
// was, and became after. What did not change stays as it was, be it right or
// wrong: upstream judges it. Fields that must not be indexed (RFC 7541 section
// 7.1.3) stay so.
func requestFields(was []hpack.HeaderField, before, after *httpstream.RequestHead) []hpack.HeaderField {
	changed := map[string][2]string{
		":method":    {before.Method, after.Method},
		":scheme":    {before.Scheme, after.Scheme},
		":authority": {before.Authority, after.Authority},
		":path":      {before.Target, after.Target},
		":protocol":  {before.Protocol, after.Protocol},
	}
	var fields []hpack.HeaderField
	known := make(map[string]bool) // and whether it is sensitive
	for _, f := range was {
		known[f.Name] = known[f.Name] || f.Sensitive
		if !f.IsPseudo() {
			continue
		}
		if c := changed[f.Name]; c[0] != c[1] {
			f.Value = c[1]
		}
		fields = append(fields, f)
	}
	for _, f := range after.Header {
		name := f.Name
		sensitive, came := known[name]
		if !came {
			name = strings.ToLower(name)
		}
		fields = append(fields, hpack.HeaderField{Name: name, Value: f.Value, Sensitive: sensitive})
	}
	return fields
}

// isConnectionField tells fields that HTTP/2 has no use for (RFC 9113 section 8.2.2).
func isConnectionField(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "http2-settings":
		return true
	}
	return false
}

// checkRequest finds what makes a request malformed beyond what http2.Framer
// checks (RFC 9113 sections 8.2.2 and 8.3.1).
func checkRequest(fields []hpack.HeaderField) error {
	var method, path, scheme, protocol, authority string
	for _, f := range fields {
		switch f.Name {
		case ":method":
			method = f.Value
		case ":path":
			path = f.Value
		case ":scheme":
			scheme = f.Value
		case ":protocol":
			protocol = f.Value
		case ":authority":
			authority = f.Value
		case "te":
			if f.Value != "trailers" {
				return errors.New("te other than trailers")
			}
		default:
			if isConnectionField(f.Name) {
				return fmt.Errorf("connection-specific field %s", f.Name)
			}
		}
	}
	switch {
	case !httpguts.ValidHeaderFieldName(method):
		return errors.New(":method missing or not a token")
	case protocol != "" && method != "CONNECT":
		return errors.New(":protocol without CONNECT")
	case method == "CONNECT" && protocol == "":
		if path != "" || scheme != "" || authority == "" {
			return errors.New("CONNECT needs :authority alone")
		}
	case scheme == "" || path == "":
		return errors.New(":scheme or :path missing")
	case path[0] != '/' && (path != "*" || method != "OPTIONS"):
		return errors.New(":path is neither absolute nor an asterisk")
	}
	return nil
}

// responseFields returns the field section of a response head. One that was
// recorded in HTTP/1 is translated: 101 becomes the 200 of an extended CONNECT
// (RFC 8441 section 5), and the rest is as in fieldSection.
func responseFields(h *httpstream.ResponseHead) []hpack.HeaderField {
	status := h.Status
	if status == 101 {
		status = 200
	}
	return fieldSection([]hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}}, h.Header, h.Proto)
}

// fieldSection appends header or trailer fields in lower case. From HTTP/1,
// connection fields are dropped, as is what can't be said in HTTP/2.
func fieldSection(dst []hpack.HeaderField, fields httpstream.Fields, proto string) []hpack.HeaderField {
	translate := strings.HasPrefix(proto, "HTTP/1")
	var named []string
	if translate {
		for _, v := range fields.Values("Connection") {
			for name := range strings.SplitSeq(v, ",") {
				named = append(named, strings.ToLower(strings.Trim(name, " \t")))
			}
		}
	}
	for _, f := range fields {
		name, value := strings.ToLower(f.Name), f.Value
		if isConnectionField(name) {
			continue
		}
		if name == "content-length" && fields.Has("Transfer-Encoding") {
			continue // it was not the body's (RFC 9112 section 6.3)
		}
		if translate {
			if slices.Contains(named, name) || !httpguts.ValidHeaderFieldName(name) {
				continue
			}
			value = fieldValue(value)
		}
		dst = append(dst, hpack.HeaderField{Name: name, Value: value})
	}
	return dst
}

// Fields are header or trailer fields as a client of HTTP/2 gets them from a
// message of proto.
func Fields(fields httpstream.Fields, proto string) httpstream.Fields {
	var out httpstream.Fields
	for _, f := range fieldSection(nil, fields, proto) {
		out = append(out, httpstream.Field{Name: f.Name, Value: f.Value})
	}
	return out
}

// fieldValue makes an HTTP/1 field value valid in HTTP/2 (RFC 9113 section 8.2.1):
// folded lines are joined (RFC 9112 section 5.2) and outer white space goes.
func fieldValue(v string) string {
	if strings.ContainsAny(v, "\r\n\x00") {
		v = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(v)
	}
	return strings.Trim(v, " \t")
}
