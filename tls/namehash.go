package mitmtls

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"slices"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// subjectHash is OpenSSL's X509_NAME_hash of a certificate's subject, by which
// files in an SSL_CERT_DIR are named (c_rehash): the first four bytes, little
// endian, of the SHA-1 of the name in canonical encoding. It parses no more of
// the certificate than it needs, as runtimes accept certificates that
// crypto/x509 does not.
func subjectHash(der []byte) (uint32, error) {
	name, err := subjectOf(der)
	if err != nil {
		return 0, err
	}
	canon, err := canonicalName(name)
	if err != nil {
		return 0, err
	}
	sum := sha1.Sum(canon)
	return binary.LittleEndian.Uint32(sum[:]), nil
}

var errBadCertificate = errors.New("not a DER certificate")

// subjectOf returns the content of the subject's Name (RFC 5280 section 4.1).
func subjectOf(der []byte) (cryptobyte.String, error) {
	in := cryptobyte.String(der)
	var cert, tbs, name cryptobyte.String
	version := asn1.Tag(0).Constructed().ContextSpecific()
	if !in.ReadASN1(&cert, asn1.SEQUENCE) ||
		!cert.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(version) ||
		!tbs.SkipASN1(asn1.INTEGER) || // serialNumber
		!tbs.SkipASN1(asn1.SEQUENCE) || // signature
		!tbs.SkipASN1(asn1.SEQUENCE) || // issuer
		!tbs.SkipASN1(asn1.SEQUENCE) || // validity
		!tbs.ReadASN1(&name, asn1.SEQUENCE) {
		return nil, errBadCertificate
	}
	return name, nil
}

// canonicalName encodes a Name as OpenSSL's x509_name_canon does: the relative
// names one after another, without the SEQUENCE around them, and each string as
// UTF8String in lower case with single spaces.
func canonicalName(name cryptobyte.String) ([]byte, error) {
	var out cryptobyte.Builder
	for !name.Empty() {
		var set cryptobyte.String
		if !name.ReadASN1(&set, asn1.SET) {
			return nil, errBadCertificate
		}
		var members [][]byte
		for !set.Empty() {
			m, err := canonicalAttribute(&set)
			if err != nil {
				return nil, err
			}
			members = append(members, m)
		}
		// DER orders a SET OF by encoding (X.690 section 11.6), and the
		// changed strings may have another order.
		slices.SortFunc(members, bytes.Compare)
		out.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
			for _, m := range members {
				b.AddBytes(m)
			}
		})
	}
	return out.Bytes()
}

func canonicalAttribute(set *cryptobyte.String) ([]byte, error) {
	var attr, oid, value cryptobyte.String
	var tag asn1.Tag
	if !set.ReadASN1(&attr, asn1.SEQUENCE) ||
		!attr.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) ||
		!attr.ReadAnyASN1(&value, &tag) || !attr.Empty() {
		return nil, errBadCertificate
	}
	content, isText := textToUTF8(value, tag)
	if isText {
		content, tag = foldText(content), asn1.UTF8String
	}
	var out cryptobyte.Builder
	out.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(oid)
		b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	})
	return out.Bytes()
}

// textToUTF8 converts the string types that OpenSSL folds in a name. It reads
// single bytes as Latin-1; other types stay as they are.
func textToUTF8(value []byte, tag asn1.Tag) (text []byte, isText bool) {
	const (
		universalString = asn1.Tag(28)
		bmpString       = asn1.Tag(30)
	)
	switch tag {
	case asn1.UTF8String:
		return value, true
	case asn1.PrintableString, asn1.T61String, asn1.IA5String:
		for _, c := range value {
			text = utf8.AppendRune(text, rune(c))
		}
		return text, true
	case bmpString:
		if len(value)%2 != 0 {
			return value, false
		}
		for ; len(value) > 0; value = value[2:] {
			text = utf8.AppendRune(text, rune(binary.BigEndian.Uint16(value)))
		}
		return text, true
	case universalString:
		if len(value)%4 != 0 {
			return value, false
		}
		for ; len(value) > 0; value = value[4:] {
			text = utf8.AppendRune(text, rune(binary.BigEndian.Uint32(value)))
		}
		return text, true
	default:
		return value, false
	}
}

// foldText is asn1_string_canon: no white space at the ends, one space where
// there is some inside, and ASCII letters in lower case.
func foldText(s []byte) []byte {
	const space = " \t\n\v\f\r"
	s = bytes.Trim(s, space)
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case bytes.IndexByte([]byte(space), c) >= 0:
			if out[len(out)-1] != ' ' {
				out = append(out, ' ')
			}
		case 'A' <= c && c <= 'Z':
			out = append(out, c+'a'-'A')
		default:
			out = append(out, c)
		}
	}
	return out
}
