package dns

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// serviceBinding is what an SVCB or HTTPS record says (RFC 9460), else nil.
func serviceBinding(body dnsmessage.ResourceBody) *dnsmessage.SVCBResource {
	switch b := body.(type) {
	case *dnsmessage.SVCBResource:
		return b
	case *dnsmessage.HTTPSResource:
		return &b.SVCBResource
	}
	return nil
}

func typeName(t dnsmessage.Type) string {
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
	}
	typ, data, err := resourceData(body)
	if err != nil {
		return "", false
	}
	return fmt.Sprintf(`%s \# %d %s`, typeName(typ), len(data), hex.EncodeToString(data)), true
}

// resourceData is the data of a record as it is on the wire, its names not compressed.
func resourceData(body dnsmessage.ResourceBody) (typ dnsmessage.Type, data []byte, err error) {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{})
	if err := b.StartAnswers(); err != nil {
		return 0, nil, err
	}
	h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(".")}
	switch r := body.(type) {
	case *dnsmessage.NSResource:
		typ, err = dnsmessage.TypeNS, b.NSResource(h, *r)
	case *dnsmessage.SOAResource:
		typ, err = dnsmessage.TypeSOA, b.SOAResource(h, *r)
	case *dnsmessage.PTRResource:
		typ, err = dnsmessage.TypePTR, b.PTRResource(h, *r)
	case *dnsmessage.MXResource:
		typ, err = dnsmessage.TypeMX, b.MXResource(h, *r)
	case *dnsmessage.TXTResource:
		typ, err = dnsmessage.TypeTXT, b.TXTResource(h, *r)
	case *dnsmessage.SRVResource:
		typ, err = dnsmessage.TypeSRV, b.SRVResource(h, *r)
	case *dnsmessage.SVCBResource:
		typ, err = dnsmessage.TypeSVCB, b.SVCBResource(h, *r)
	case *dnsmessage.HTTPSResource:
		typ, err = dnsmessage.TypeHTTPS, b.HTTPSResource(h, *r)
	case *dnsmessage.UnknownResource:
		return r.Type, r.Data, nil
	default:
		return 0, nil, fmt.Errorf("no data is known for %T", body)
	}
	if err != nil {
		return 0, nil, err
	}
	msg, err := b.Finish()
	// A header, the root's name, then type, class, TTL and length.
	const before = 12 + 1 + 10
	if err != nil || len(msg) < before {
		return 0, nil, errors.Join(err, errors.New("the record can't be written"))
	}
	return typ, msg[before:], nil
}

func parseGeneric(s string) ([]byte, error) {
	fields := strings.Fields(s)
	if len(fields) < 2 || len(fields) > 3 || fields[0] != `\#` {
		return nil, fmt.Errorf("%q is not in the form \\# length hex", s)
	}
	data, err := hex.DecodeString(strings.Join(fields[2:], ""))
	if err == nil && fields[1] != strconv.Itoa(len(data)) {
		err = fmt.Errorf("%q has %d bytes, not %s", s, len(data), fields[1])
	}
	return data, err
}

// withoutHTTP3 takes "h3" out of a service binding's ALPN list, and its encrypted
// client hello, which would hide the server name, with what hangs on them
// (RFC 9460 sections 7.1, 8 and 14.3.2). It reports whether anything changed; a list
// that it can't read stays as it is.
func withoutHTTP3(params []dnsmessage.SVCParam) ([]dnsmessage.SVCParam, bool) {
	var kept []dnsmessage.SVCParam
	gone := make(map[dnsmessage.SVCParamKey]bool)
	changed := false
	for _, p := range params {
		switch p.Key {
		case dnsmessage.SVCParamECH:
			gone[p.Key] = true
			continue
		case dnsmessage.SVCParamALPN:
			list, cut, ok := alpnWithoutHTTP3(p.Value)
			if !ok {
				return params, false
			}
			changed = changed || cut
			if p.Value = list; len(list) == 0 {
				// Without a list there is no default to leave out either.
				gone[p.Key], gone[dnsmessage.SVCParamNoDefaultALPN] = true, true
				continue
			}
		case dnsmessage.SVCParamNoDefaultALPN:
			if gone[p.Key] {
				continue
			}
		}
		kept = append(kept, p)
	}
	if len(gone) == 0 {
		return kept, changed
	}
	if len(kept) > 0 && kept[0].Key == dnsmessage.SVCParamMandatory {
		if kept[0].Value = mandatoryWithout(kept[0].Value, gone); len(kept[0].Value) == 0 {
			kept = kept[1:]
		}
	}
	return kept, true
}

// mandatoryWithout takes keys out of a list of mandatory ones.
func mandatoryWithout(list []byte, gone map[dnsmessage.SVCParamKey]bool) []byte {
	var kept []byte
	for ; len(list) >= 2; list = list[2:] {
		if key := dnsmessage.SVCParamKey(binary.BigEndian.Uint16(list)); !gone[key] {
			kept = append(kept, list[:2]...)
		}
	}
	return kept
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
