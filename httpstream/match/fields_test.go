package match

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// head reads "Name: value" lines.
func head(lines string) httpstream.Fields {
	var fs httpstream.Fields
	for line := range strings.SplitSeq(lines, "\n") {
		if name, value, found := strings.Cut(line, ":"); found {
			fs = append(fs, httpstream.Field{Name: name, Value: strings.TrimPrefix(value, " ")})
		}
	}
	return fs
}

func TestTheFieldsThatChooseAnAnswerCount(t *testing.T) {
	tenants := Rules{Headers: []string{"X-Tenant", "x-grpc-*", "Cookie"}}
	for _, tc := range []struct {
		name          string
		recorded, now string
		rules         Rules
		different     string // in what the miss says; empty if the call answers
	}{
		{"equal fields", "Range: bytes=0-9", "range: bytes=0-9", Rules{}, ""},
		{"another range", "Range: bytes=0-9", "Range: bytes=10-19", Rules{}, "header Range was bytes=0-9, is bytes=10-19"},
		{"no range any more", "Range: bytes=0-9", "", Rules{}, "the request has no header Range now"},
		{"a range where there was none", "", "Range: bytes=0-9", Rules{}, "the request has header Range now, and had none"},
		{"the range's unit has no case", "Range: bytes=0-9,20-29", "Range: Bytes=0-9, 20-29", Rules{}, ""},

		{"another type is accepted", "Accept: application/json", "Accept: text/event-stream", Rules{}, "header Accept was"},
		{"an Accept for anything is none", "Accept: */*", "", Rules{}, ""},
		{"an Accept-Language for anything is none", "", "Accept-Language: *", Rules{}, ""},
		{"space, case and needless weights do not count", "Accept: text/html;q=1.0,application/json ; Q=0.50", "Accept: Text/HTML, application/json;q=0.5", Rules{}, ""},
		{"a list over two lines is one", "Accept: text/html\nAccept: text/plain", "Accept: text/html, text/plain", Rules{}, ""},
		{"the order of what is accepted counts", "Accept: text/html, text/plain", "Accept: text/plain, text/html", Rules{}, "header Accept"},
		{"weights count", "Accept-Language: de, en;q=0.5", "Accept-Language: de, en;q=0.9", Rules{}, "header Accept-Language"},
		{"a quoted comma splits no list", `Accept: a/b;p="x,y"`, `Accept: a/b;p="x, y"`, Rules{}, "header Accept"},

		{"another entity tag", `If-None-Match: "a"`, `If-None-Match: "b"`, Rules{}, "header If-None-Match"},
		{"a weak entity tag is another", `If-Match: "a"`, `If-Match: W/"a"`, Rules{}, "header If-Match"},
		{"dates in other forms are equal", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", Rules{}, ""},
		{"another date", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:38 GMT", Rules{}, "header If-Unmodified-Since"},
		{"If-Range", `If-Range: "a"`, `If-Range: "b"`, Rules{}, "header If-Range"},
		{"where an event stream goes on", "Last-Event-ID: 41", "Last-Event-ID: 42", Rules{}, "header Last-Event-ID was 41, is 42"},
		{"an expectation", "", "Expect: 100-continue", Rules{}, "header Expect"},
		{"an expectation has no case", "Expect: 100-Continue", "Expect: 100-continue", Rules{}, ""},
		{"gRPC's te", "te: trailers", "", Rules{}, "no header te now"},
		{"a preference", "Prefer: return=minimal", "Prefer: return=representation", Rules{}, "header Prefer"},
		{"the offer of a WebSocket", "Upgrade: websocket", "", Rules{}, "header Upgrade"},
		{"the offer of HTTP/2 changes no answer", "Upgrade: h2c", "", Rules{}, ""},
		{"a WebSocket's subprotocol", "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b", Rules{}, "header Sec-WebSocket-Protocol"},
		{"AWS names the operation in a field", "X-Amz-Target: DynamoDB.ListTables", "X-Amz-Target: DynamoDB.ListBackups", Rules{}, "header X-Amz-Target"},
		{"an API's version", "anthropic-version: 2023-01-01", "anthropic-version: 2023-06-01", Rules{}, "header anthropic-version"},
		{"a coding counts where there is a body", "Content-Encoding: gzip", "", Rules{}, ""},

		{"the key may change", "Authorization: Bearer REDACTED", "Authorization: Bearer hunter2", Rules{}, ""},
		{"no key any more", "Authorization: Bearer REDACTED", "", Rules{}, "the request has no credentials in header Authorization now"},
		{"a key where there was none", "", "X-Api-Key: hunter2", Rules{}, "the request has credentials in header X-Api-Key now"},
		{"an empty key", "X-Api-Key: REDACTED", "X-Api-Key:", Rules{}, "header X-Api-Key is empty now: its credentials are missing"},
		{"a scheme without a key", "Authorization: Bearer REDACTED", "Authorization: Bearer ", Rules{}, "header Authorization was Bearer REDACTED, is REDACTED"},
		{"another scheme", "Authorization: Bearer REDACTED", "Authorization: Basic aHVudGVyMg==", Rules{}, "header Authorization was Bearer REDACTED, is Basic REDACTED"},
		{"the scheme has no case", "Authorization: Bearer REDACTED", "Authorization: bearer hunter2", Rules{}, ""},
		{"a key that the tape keeps may change too", "X-Api-Key: old", "X-Api-Key: hunter2", Rules{Redact: tape.NewRedactor(tape.RedactRules{KeepHeaders: []string{"X-Api-Key"}})}, ""},
		{"what the user has redacted is a key", "X-Mine: REDACTED", "", Rules{Redact: tape.NewRedactor(tape.RedactRules{Headers: []string{"X-Mine"}})}, "no credentials in header X-Mine"},
		{"cookies expire", "Cookie: sid=REDACTED", "", Rules{}, ""},
		{"what repeats a cookie goes with it", "X-CSRFToken: REDACTED\nX-XSRF-TOKEN: REDACTED", "", Rules{}, ""},
		{"cookies count where they are asked for, not their values", "Cookie: sid=REDACTED", "Cookie: sid=hunter2", tenants, ""},
		{"cookies are missed where they are asked for", "Cookie: sid=REDACTED", "", tenants, "no header Cookie"},

		{"other fields do not count", "X-Tenant: a\nUser-Agent: x/1", "X-Tenant: b\ntraceparent: 00-1", Rules{}, ""},
		{"chosen fields count", "X-Tenant: a", "X-Tenant: b", tenants, "header X-Tenant was a, is b"},
		{"chosen metadata counts", "x-grpc-shard: 1", "x-grpc-shard: 2", tenants, "header x-grpc-shard was 1, is 2"},
		{"a chosen field that is a key stays secret", "X-Api-Key: REDACTED", "X-Api-Key: hunter2", Rules{Headers: []string{"X-Api-Key"}}, ""},
		{"an ignored field does not count", "Range: bytes=0-9", "Range: bytes=1-9", Rules{IgnoreHeader: func(n string) bool { return n == "range" }}, ""},
		{"an ignored key may be missing", "X-Api-Key: REDACTED", "", Rules{IgnoreHeader: func(n string) bool { return n == "x-api-key" }}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, headOnly := range []bool{false, true} {
				if headOnly && strings.Contains(tc.recorded, "Content-") {
					continue
				}
				x := call(1, "GET", "https://h/a?api_key=REDACTED", "", "")
				x.Request.Header = head(tc.recorded)
				q := ask("GET", "https://h/a?api_key=hunter2", "", "")
				q.Header, q.HeadOnly = head(tc.now), headOnly
				got, miss := NewIndex([]*tape.Exchange{x}, tc.rules).Match(q)
				if tc.different == "" {
					if got == nil {
						t.Fatalf("head only %v: %v", headOnly, miss)
					}
					continue
				}
				if got != nil {
					t.Fatalf("head only %v: it is answered", headOnly)
				}
				if len(miss.Differences) != 1 || !strings.Contains(miss.String(), tc.different) || !strings.Contains(string(miss.Body()), "header ") {
					t.Errorf("head only %v: the miss says %q, %+v", headOnly, miss, miss.Differences)
				}
				if strings.Contains(string(miss.Body())+miss.String(), "hunter2") {
					t.Errorf("the miss shows the secret: %s", miss.Body())
				}
			}
		})
	}
}

func TestTheCodingOfABodyCounts(t *testing.T) {
	x := call(1, "POST", "https://h/", "text/plain", "x")
	x.Request.Header = append(x.Request.Header, httpstream.Field{Name: "Content-Encoding", Value: "gzip"})
	ix := NewIndex([]*tape.Exchange{x}, Rules{})
	q := ask("POST", "https://h/", "text/plain", "x")
	if _, miss := ix.Match(q); miss == nil || !strings.Contains(miss.String(), "no header Content-Encoding now") {
		t.Errorf("miss %v", miss)
	}
	q.Header = append(q.Header, httpstream.Field{Name: "content-encoding", Value: "GZIP, identity"})
	if _, miss := ix.Match(q); miss != nil {
		t.Error(miss)
	}
}

func TestTheContentOfAnEncodedBodyCounts(t *testing.T) {
	encode := func(encoding, text string, at int64) string {
		var b bytes.Buffer
		if encoding == "deflate" {
			w, _ := zlib.NewWriterLevel(&b, int(at))
			io.WriteString(w, text)
			w.Close()
			return b.String()
		}
		w := gzip.NewWriter(&b)
		w.ModTime = time.Unix(at, 0)
		io.WriteString(w, text)
		w.Close()
		return b.String()
	}
	long := strings.Repeat("long ", 1000)
	for _, tc := range []struct {
		name, encoding  string
		recorded, now   string
		same            bool
		whereIfAnywhere string
	}{
		{"made at another time", "gzip", encode("gzip", `{"a":1}`, 1), encode("gzip", `{ "a": 1.0 }`, 2), true, ""},
		{"at another level", "deflate", encode("deflate", `["`+long+`"]`, 1), encode("deflate", `["`+long+`"]`, 9), true, ""},
		{"another content", "gzip", encode("gzip", `{"a":1}`, 1), encode("gzip", `{"a":2}`, 1), false, "body $.a"},
		{"what is not encoded at all", "gzip", `{"a":1}`, `{ "a":1}`, true, ""},
		{"what ends too soon", "gzip", encode("gzip", long, 1)[:40], encode("gzip", long, 2)[:40], false, "body"},
		{"an unknown coding", "br", "\x01\x00a", "\x01\x00b", false, "body"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			of := func(body string) (*tape.Exchange, Query) {
				x, q := call(1, "POST", "https://h/", jsonType, body), ask("POST", "https://h/", jsonType, body)
				x.Request.Header = append(x.Request.Header, httpstream.Field{Name: "Content-Encoding", Value: tc.encoding})
				q.Header = x.Request.Header
				return x, q
			}
			x, _ := of(tc.recorded)
			_, q := of(tc.now)
			got, miss := NewIndex([]*tape.Exchange{x}, Rules{}).Match(q)
			if (got != nil) != tc.same {
				t.Fatalf("answered by %v, %v", got, miss)
			}
			if !tc.same && miss.Differences[0].Where.String() != tc.whereIfAnywhere {
				t.Errorf("differences %+v", miss.Differences)
			}
		})
	}
	bomb := encode("gzip", strings.Repeat("0", maxDecoded+1), 1)
	if body.Decode("gzip", []byte(bomb), maxDecoded) != nil {
		t.Error("a body of any size is decoded")
	}
}

// FuzzFields checks that normal values stay as they are, and that no value of a
// credential is shown.
func FuzzFields(f *testing.F) {
	for _, v := range []string{"", "*/*", "a/b;q=0.5, c;Q=1", `"a,b", W/"c"`, "bytes=0-1", "Sun, 06 Nov 1994 08:49:37 GMT", `a;b="\",`, ",,", "h2c, websocket"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for name, c := range fieldCounts {
			once := normalValue(name, value, c)
			if again := normalValue(name, once, c); again != once && strings.Count(value, `"`)%2 == 0 && c != asType {
				t.Errorf("%s: %q became %q, then %q", name, value, once, again)
			}
		}
		secret := "hunter2" + value
		for _, x := range (&Rules{}).fields(httpstream.Fields{{Name: "X-Api-Key", Value: secret}}, nil) {
			if strings.Contains(x.value, "hunter2") {
				t.Errorf("%q is shown as %q", secret, x.value)
			}
		}
	})
}
