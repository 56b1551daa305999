package agent

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	typeSVCB  dnsmessage.Type = 64 // RFC 9460 section 14.1
	typeHTTPS dnsmessage.Type = 65

	svcParamALPN = 1 // RFC 9460 section 14.3.2
	svcParamECH  = 5
)

func isServiceBinding(t dnsmessage.Type) bool { return t == typeSVCB || t == typeHTTPS }

func typeName(t dnsmessage.Type) string {
	switch t {
	case typeSVCB:
		return "SVCB"
	case typeHTTPS:
		return "HTTPS"
	}
	if name, ok := strings.CutPrefix(t.String(), "Type"); ok {
		return name
	}
	return "TYPE" + strconv.Itoa(int(t)) // RFC 3597 section 5
}

var rcodeNames = map[dnsmessage.RCode]string{
	dnsmessage.RCodeSuccess:        "NOERROR",
	dnsmessage.RCodeFormatError:    "FORMERR",
	dnsmessage.RCodeServerFailure:  "SERVFAIL",
	dnsmessage.RCodeNameError:      "NXDOMAIN",
	dnsmessage.RCodeNotImplemented: "NOTIMP",
	dnsmessage.RCodeRefused:        "REFUSED",
}

func rcodeName(c dnsmessage.RCode) string {
	if s, ok := rcodeNames[c]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", c)
}

func rcodeOf(name string) dnsmessage.RCode {
	for c, s := range rcodeNames {
		if s == name {
			return c
		}
	}
	return dnsmessage.RCodeServerFailure
}

// answerText writes an answer as in a zone file; what has no everyday form is
// written in the generic one (RFC 3597 section 5).
func answerText(body dnsmessage.ResourceBody) (string, bool) {
	switch b := body.(type) {
	case *dnsmessage.AResource:
		return "A " + netip.AddrFrom4(b.A).String(), true
	case *dnsmessage.AAAAResource:
		return "AAAA " + netip.AddrFrom16(b.AAAA).String(), true
	case *dnsmessage.CNAMEResource:
		return "CNAME " + canonicalName(b.CNAME.String()), true
	case *dnsmessage.UnknownResource:
		return fmt.Sprintf(`%s \# %d %s`, typeName(b.Type), len(b.Data), hex.EncodeToString(b.Data)), true
	}
	return "", false
}

func parseGeneric(s string) ([]byte, error) {
	fields := strings.Fields(s)
	if len(fields) != 3 || fields[0] != `\#` {
		return nil, fmt.Errorf("%q is not in the form \\# length hex", s)
	}
	return hex.DecodeString(fields[2])
}

// withoutHTTP3 takes "h3" out of a service binding's ALPN list, and its encrypted
// client hello, which would hide the server name (RFC 9460 section 2.2). It
// reports whether anything changed; data that it can't read stays as it is.
func withoutHTTP3(data []byte) ([]byte, bool) {
	if len(data) < 3 {
		return data, false
	}
	// Priority, then an uncompressed name.
	i := 2
	for i < len(data) && data[i] != 0 {
		i += 1 + int(data[i])
	}
	if i++; i > len(data) {
		return data, false
	}
	out := append([]byte(nil), data[:i]...)
	changed := false
	for i < len(data) {
		if i+4 > len(data) {
			return data, false
		}
		key := binary.BigEndian.Uint16(data[i:])
		size := int(binary.BigEndian.Uint16(data[i+2:]))
		if i+4+size > len(data) {
			return data, false
		}
		value := data[i+4 : i+4+size]
		i += 4 + size
		switch key {
		case svcParamECH:
			changed = true
			continue
		case svcParamALPN:
			kept, cut, ok := alpnWithoutHTTP3(value)
			if !ok {
				return data, false
			}
			changed = changed || cut
			if value = kept; len(value) == 0 {
				continue
			}
		}
		out = binary.BigEndian.AppendUint16(out, key)
		out = binary.BigEndian.AppendUint16(out, uint16(len(value)))
		out = append(out, value...)
	}
	return out, changed
}

func alpnWithoutHTTP3(list []byte) (kept []byte, cut, ok bool) {
	for len(list) > 0 {
		n := int(list[0])
		if 1+n > len(list) {
			return nil, false, false
		}
		if id := string(list[1 : 1+n]); id == "h3" || strings.HasPrefix(id, "h3-") {
			cut = true
		} else {
			kept = append(kept, list[:1+n]...)
		}
		list = list[1+n:]
	}
	return kept, cut, true
}
