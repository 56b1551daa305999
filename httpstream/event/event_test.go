package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

func TestAPlaceIsReadAsItIsWritten(t *testing.T) {
	for text, want := range map[string]Place{
		"method": {Kind: Method}, ":protocol": {Kind: Protocol}, "host": {Kind: Host}, "case": {Kind: InCase},
		"query a b": {Query, "a b"}, "header X-Id": {Header, "X-Id"}, "trailer Grpc-Status": {Trailer, "Grpc-Status"},
		"body": {Kind: Body}, "body $": {Body, "$"}, "body $['a b'][0]": {Body, "$['a b'][0]"},
		"body field body": {FormField, "body"}, "body part 1 $.x": {Part, "1 $.x"}, "message $.t": {Message, "$.t"},
	} {
		var p Place
		if err := p.UnmarshalText([]byte(text)); err != nil || p != want || p.String() != text {
			t.Errorf("%q is read as %+v, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "nowhere", "headers X", "pathological"} {
		if err := new(Place).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a place", text)
		}
	}
}

func TestAPlaceInABodyIsOneInAPartOrAMessageAsWell(t *testing.T) {
	for _, tc := range []struct{ inner, outer, want string }{
		{"body $.a", "body", "body $.a"},
		{"body $.a", "message", "message $.a"},
		{"body", "message", "message"},
		{"body $", "body part meta", "body part meta $"},
		{"body field f", "body part meta", "body part meta field f"},
		{"body part 2", "body part meta", "body part meta part 2"},
	} {
		var inner, outer Place
		if inner.UnmarshalText([]byte(tc.inner)) != nil || outer.UnmarshalText([]byte(tc.outer)) != nil {
			t.Fatal(tc)
		}
		if got := inner.In(outer).String(); got != tc.want {
			t.Errorf("%s in %s is %q, want %q", tc.inner, tc.outer, got, tc.want)
		}
	}
	if (Place{Body, "$"}).Member() || !(Place{Body, "$.a"}).Member() || (Place{Header, "$.a"}).Member() {
		t.Error("what is one value of a body?")
	}
}

func TestEventsAreReadAsTheyAreWritten(t *testing.T) {
	exchange := Exchange{
		Kind: CallEnded, Service: "api", Number: 3, Case: 2, Method: "GET", URL: "https://h/", Status: 200, Chunks: 4, Bytes: 5,
		First: time.Millisecond, Took: time.Second, How: httpstream.EOF, Late: &Lateness{1, 2}, Failed: "why",
	}
	ended := exchange
	ended.Kind = CaseEnded
	for want, e := range map[string]Event{
		`{"type":"call","service":"api","number":3,"case":2,`: {Exchange: &exchange},
		`{"type":"case","service":"api",`:                     {Exchange: &ended},
		`{"type":"opaque","service":"api","url":"h:1"`:        {Notice: &Notice{Kind: Opaque, Service: "api", About: "h:1", HTTP: true, Bytes: 9}},
		`{"type":"refused","detail":"no","cause":"private_root","hint":"trust it"}`: {
			Notice: &Notice{Kind: Unreachable, Detail: "no", Cause: PrivateRoot, Next: "trust it"},
		},
		`"miss":{"error":{"type":"wiretape_miss","message":"wiretape: no recorded call answers GET https://h/?a=2; closest is call 7: query a was 1, is 2"},`: {
			Exchange: &Exchange{Kind: CallEnded, Status: 502},
			Miss: &Miss{
				Service: "api", Method: "GET", URL: "https://h/?a=2", Case: 3, Answered: Recorded, More: 1,
				Closest:     &Call{Number: 7, File: "calls/0007-get-h.yaml", Method: "GET", URL: "https://h/?a=1"},
				Differences: []Difference{{Where: Place{Query, "a"}, Recorded: "1", Now: "2"}},
			},
		},
	} {
		data, err := json.Marshal(e)
		if err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s, %v; want %s", data, err, want)
		}
		var got Event
		if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s is read as %+v, %v", data, got, err)
		}
	}
	for _, bad := range []string{`{"type":"miss"}`, `{"type":1}`, `{"type":"miss","miss":{"differences":[{"where":"nowhere"}]}}`} {
		if err := json.Unmarshal([]byte(bad), new(Event)); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
	if data, err := json.Marshal(Event{}); err == nil {
		t.Errorf("nothing is written as %s", data)
	}
}

func TestTheBodyOfAMissIsTheMissAndAnError(t *testing.T) {
	m := &Miss{Method: "GET", URL: "https://h/?a=1&b=2", Used: 2}
	var got struct {
		Error struct{ Type, Message string }
		Miss
	}
	body := m.Body()
	if err := json.Unmarshal(body, &got); err != nil || !reflect.DeepEqual(&got.Miss, m) || got.Error.Type != "wiretape_miss" {
		t.Errorf("%s is read as %+v, %v", body, got, err)
	}
	if !strings.HasPrefix(string(body), "{\n  \"error\"") || !strings.Contains(string(body), "a=1&b=2") {
		t.Errorf("%s", body)
	}
}

func TestACopyOfAMissSharesNothing(t *testing.T) {
	m := &Miss{OtherURLs: []string{"a"}, Closest: &Call{URL: "a"}, Differences: []Difference{{Now: "a"}}}
	c := m.Clone()
	c.OtherURLs[0], c.Closest.URL, c.Differences[0].Now = "b", "b", "b"
	if m.OtherURLs[0] != "a" || m.Closest.URL != "a" || m.Differences[0].Now != "a" {
		t.Errorf("%+v", m)
	}
}

func TestAProblemIsFoundAndReadLikeAnyError(t *testing.T) {
	cause := fmt.Errorf("open: %w", fs.ErrPermission)
	p := &Problem{Kind: Environment, Call: 3, Err: cause, Next: "check the mode"}
	err := fmt.Errorf("record: %w", p)
	if got := (*Problem)(nil); !errors.As(err, &got) || got != p || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v is not found", err)
	}
	if p.Error() != "call 3: open: permission denied" || p.Message() != "open: permission denied" {
		t.Errorf("%q, %q", p.Error(), p.Message())
	}
	data, jerr := json.Marshal(p)
	const want = `{"kind":"environment","call":3,"message":"open: permission denied","next":"check the mode"}`
	if jerr != nil || string(data) != want {
		t.Errorf("%s, %v", data, jerr)
	}
	var got Problem
	if err := json.Unmarshal(data, &got); err != nil || got.Error() != p.Error() || got.Kind != p.Kind || got.Next != p.Next {
		t.Errorf("%+v, %v", got, err)
	}
	if data, err := json.Marshal([]Problem{{Err: errors.New("x")}}); err != nil || string(data) != `[{"message":"x"}]` {
		t.Errorf("%s, %v", data, err)
	}
}
