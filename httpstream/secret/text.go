package secret

import (
	"mime"
	"strings"
)

// A Text says how a body is to be read.
type Text struct {
	// Form is set where names of parameters count as they do in a form.
	Form bool
	// Parts is set for a multipart body.
	Parts bool
	// Binary is set where the byte before a token says nothing: it may be a length.
	Binary bool
	// Code is set where what looks like name=value is a program's.
	Code bool
}

// TextOf tells how a body is to be read by its Content-Type and Content-Encoding
// values; ok is false where there is nothing to read: it is compressed, or an image.
func TextOf(contentType, encoding string) (t Text, ok bool) {
	if encoding != "" && !strings.EqualFold(encoding, "identity") {
		return t, false
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && media == "" {
		media, _, _ = strings.Cut(strings.ToLower(contentType), ";")
	}
	kind, sub, _ := strings.Cut(strings.TrimSpace(media), "/")
	switch kind {
	case "image":
		return t, strings.HasSuffix(sub, "+xml")
	case "audio", "video", "font":
		return t, false
	case "multipart":
		return Text{Parts: true}, true
	case "text":
		t.Code = sub == "html" || sub == "css" || strings.HasSuffix(sub, "javascript")
		return t, true
	}
	switch {
	case sub == "zip", sub == "gzip", sub == "x-gzip", sub == "wasm", sub == "pdf":
		return t, false
	case sub == "x-www-form-urlencoded":
		t.Form = true
	case strings.HasSuffix(sub, "javascript"):
		t.Code = true
	case sub == "json", strings.HasSuffix(sub, "+json"), strings.HasSuffix(sub, "json"), strings.HasSuffix(sub, "xml"), media == "":
	default:
		t.Binary = true
	}
	return t, true
}
