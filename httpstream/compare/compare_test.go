package compare

import (
	"fmt"
	"slices"
	"testing"
)

func TestDifferencesOfEvents(t *testing.T) {
	ten := letters(10)
	change := func(f func(s []string) []string) []string { return f(slices.Clone(ten)) }
	tests := []struct {
		name string
		now  []string
		want []string
	}{
		{"the same events pass", ten, nil},
		{"one missing event is one difference", slices.Delete(slices.Clone(ten), 3, 4),
			[]string{`[missing] event 4 is missing: data: {"n":3,"text":"word 3"}`}},
		{"a missing first event", ten[1:],
			[]string{`[missing] event 1 is missing: data: {"n":0,"text":"word 0"}`}},
		{"a missing last event", ten[:9],
			[]string{`[missing] event 10 is missing: data: {"n":9,"text":"word 9"}`}},
		{"an event in between was not recorded", slices.Insert(slices.Clone(ten), 5, "new"),
			[]string{`[extra] event 6 was not recorded: data: new`}},
		{"extra trailing events fail", append(slices.Clone(ten), "[DONE]", "more"),
			[]string{`[extra] event 11 was not recorded: data: [DONE]`, `[extra] event 12 was not recorded: data: more`}},
		{"two events that changed places", change(func(s []string) []string { s[4], s[5] = s[5], s[4]; return s }),
			[]string{`[reordered] event 6 comes as event 5 now`}},
		{"an event that comes much later", append(slices.Clone(ten[1:]), ten[0]),
			[]string{`[missing] event 1 is missing: data: {"n":0,"text":"word 0"}`, `[reordered] event 1 comes as event 10 now`}},
		{"one value changed", change(func(s []string) []string { s[2] = `{"n":2,"text":"Word 2"}`; return s }),
			[]string{`[changed] event 3 data $.text: recorded "word 2", now "Word 2"`}},
		{"one value changed and one event missing after it", slices.Delete(change(func(s []string) []string {
			s[2] = `{"n":2,"text":"word 2!"}`
			return s
		}), 3, 4), []string{`[changed] event 3 data $.text: recorded "word 2", now "word 2!"`,
			`[missing] event 4 is missing: data: {"n":3,"text":"word 3"}`}},
		{"nothing comes", nil, func() (w []string) {
			for i, e := range ten[:2] {
				w = append(w, fmt.Sprintf("[missing] event %d is missing: data: %s", i+1, e))
			}
			w[1] += "; 8 events after it as well"
			return w
		}()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := verdict(events(ten...), events(tt.now...), Options{})
			if tt.want == nil {
				wantPass(t, v)
				return
			}
			wantFail(t, v, tt.want...)
		})
	}
}

func TestDifferencesOfOtherFormats(t *testing.T) {
	one := func(ct string) func(string) reply { return func(b string) reply { return answer(ct, b) } }
	text, js, nd, raw := one("text/plain"), one("application/json"), one("application/x-ndjson"), one("application/octet-stream")
	tests := []struct {
		name string
		as   func(string) reply
		rec  string
		now  string
		want []string
	}{
		{"text is compared by line", text, "a\nb\nc\n", "a\nc\n", []string{"[missing] line 2 is missing: b"}},
		{"text of the same length differs by value", text, "one\ntwo\n", "one\ntwx\n",
			[]string{`[changed] line 2: recorded "two\n", now "twx\n"`}},
		{"a line end is part of a text", text, "a\r\nb\n", "a\nb\n", []string{`[changed] line 1: line ends, CRLF when recorded and LF now: recorded "a\r\n", now "a\n"`}},
		{"a missing end of the last line of a text differs", text, "a\n", "a", []string{`[changed] line 1: without the last line end now: recorded "a\n", now "a"`}},
		{"JSON members may come in any order", js, `{"a":1,"b":[true,null]}`, ` {"b" : [ true, null ], "a" : 1.0e0}`, nil},
		{"2^53+1 is not 2^53", js, `{"id":9007199254740993}`, `{"id":9007199254740992}`,
			[]string{"[changed] body $.id: recorded 9007199254740993, now 9007199254740992"}},
		{"a fraction beyond float64 differs", js, `[0.10000000000000000001]`, `[0.1]`,
			[]string{"[changed] body $[0]: recorded 0.10000000000000000001, now 0.1"}},
		{"a number is not its text", js, `{"a":1}`, `{"a":"1"}`, []string{`[changed] body $.a: recorded 1, now "1"`}},
		{"null is not absent", js, `{"a":null}`, `{}`, []string{`[missing] body $.a is missing: null`}},
		{"false is not null", js, `[false]`, `[null]`, []string{`[changed] body $[0]: recorded false, now null`}},
		{"an empty object is not an empty array", js, `{}`, `[]`, []string{`[changed] body $: recorded {}, now []`}},
		{"a member more", js, `{}`, `{"a b":{"c":1}}`, []string{`[extra] body $['a b'] was not recorded: {"c":1}`}},
		{"one missing array element is one difference", js, `["a","b","c","d"]`, `["a","c","d"]`,
			[]string{`[missing] body $[1] is missing: "b"`}},
		{"an array element in another place", js, `[1,2,3,4]`, `[2,3,4,1]`, []string{`[reordered] body $[0] is at $[3] now`}},
		{"a name that occurs twice now", js, `{"a":2}`, `{"a":1,"a":2}`,
			[]string{`[extra] body $.a: the name occurs more than once now`}},
		{"a name that occurs twice on both sides with other values", js, `{"a":1,"a":2}`, `{"a":3,"a":2}`,
			[]string{`[changed] body $.a: the name occurs more than once, with other values than recorded`}},
		{"a name that occurs twice on both sides alike", js, `{"a":1,"a":2}`, `{"a":1, "a":2}`, nil},
		{"U+FFFD is not a lone surrogate", js, `["\ud800"]`, "[\"\ufffd\"]",
			[]string{"[changed] body $[0]: recorded \"\\xed\\xa0\\x80\", now \"\ufffd\""}},
		{"U+FFFD is not ill-formed UTF-8", js, "[\"\xc3\"]", "[\"\ufffd\"]",
			[]string{"[changed] body $[0]: recorded \"\\xc3\", now \"\ufffd\""}},
		{"an escape is the character", js, `["\u00e9\ud83d\ude00\/"]`, `["é😀/"]`, nil},
		{"what is no JSON any more", js, `{"a":1}`, `oops`, []string{`[content] body is no JSON now: recorded "{\"a\":1}", now "oops"`}},
		{"what was never JSON is compared as text", js, `<a>`, `<b>`, []string{`[changed] body: recorded "<a>", now "<b>"`}},
		{"an empty JSON body matches only an empty one", js, ``, `{}`, []string{`[content] body was no JSON when recorded: recorded "", now "{}"`}},
		{"NDJSON skips blank lines and needs no last line end", nd, "{\"a\":1}\n\n{\"b\":2}\n", "{\"a\": 1}\r\n{\"b\":2}", nil},
		{"NDJSON names line and path", nd, "{\"a\":1}\n{\"b\":[2]}\n", "{\"a\":1}\n{\"b\":[3]}\n",
			[]string{"[changed] line 2 $.b[0]: recorded 2, now 3"}},
		{"a broken NDJSON line is compared as text", nd, "{\"a\":\n", "{\"b\":\n", []string{`[changed] line 1: recorded "{\"a\":", now "{\"b\":"`}},
		{"bytes have an offset", raw, "\x00\x01\x02\x03", "\x00\x01\xff\x03",
			[]string{`[bytes] body: byte 2: recorded 0x02 "\x02\x03", now 0xff "\xff\x03"`}},
		{"fewer bytes", raw, "abcd", "abc", []string{"[bytes] body: 4 bytes recorded, 3 now"}},
		{"more bytes", raw, "abc", "abcd", []string{"[bytes] body: 3 bytes recorded, 4 now"}},
		{"an empty recording matches only an empty body", raw, "", "x", []string{"[bytes] body: 0 bytes recorded, 1 now"}},
		{"an empty recorded stream matches no event", one(sseType), "", "data: x\n\n", []string{"[extra] event 1 was not recorded: data: x"}},
		{"an empty recorded text matches no line", text, "", "x\n", []string{"[extra] line 1 was not recorded: x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := verdict(tt.as(tt.rec), tt.as(tt.now), Options{})
			if tt.want == nil {
				wantPass(t, v)
				return
			}
			wantFail(t, v, tt.want...)
		})
	}
}
