package worker

import (
	"testing"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestCallsAreMatchedByTheRulesOfTheConfiguration(t *testing.T) {
	noise, err := parseNoise("request.text: ['day \\d+']\ncases:\n  '*-chat': { request.path: ['v\\d+'] }\n")
	if err != nil {
		t.Fatal(err)
	}
	named := func(number int, file string) *tape.Exchange { return &tape.Exchange{Number: number, File: file} }
	tp := &tape.Tape{Cases: []*tape.Exchange{named(1, "cases/0001-get-a.yaml"), named(2, "cases/0002-post-chat.yaml"), named(3, "cases/0003-post-chat.yaml")}}
	call := func(number, ofCase int) *tape.Exchange {
		x := &tape.Exchange{Kind: tape.Call, Number: number, Case: ofCase, Request: tape.Request{Method: "POST", URL: "https://h/v1"}}
		x.Request.Header = httpstream.Fields{{Name: "X-Tenant", Value: "a"}, {Name: "Accept-Encoding", Value: "gzip, br"}}
		x.Request.Body = tape.Body{Data: []byte("it is day 1"), Size: 11}
		return x
	}
	tp.Calls = []*tape.Exchange{call(1, 1), call(2, 2), call(3, 3)}
	rules := requestRules(tp, noise, &agent.Start{MatchHeaders: []string{"x-tenant"}, KeepEncoding: true})
	if two := rules.OfCase(2); two == nil || two != rules.OfCase(3) || rules.OfCase(1) != nil || rules.OfCase(9) != nil {
		t.Error("cases with the same rules don't share them")
	}
	for _, c := range []struct {
		name                   string
		url, tenant, encodings string
		ofCase, want           int
	}{
		{"noise in the text", "https://h/v1", "a", "gzip,br", 1, 1},
		{"another tenant", "https://h/v1", "b", "gzip, br", 1, 0},
		{"an encoding that the server may not use now", "https://h/v1", "a", "gzip", 1, 0},
		{"noise in the path is a rule of other cases", "https://h/v2", "a", "gzip, br", 1, 0},
		{"noise in the path", "https://h/v2", "a", "gzip, br", 3, 3},
		{"match.headers hold for them too", "https://h/v2", "b", "gzip, br", 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := match.Query{
				Method: "POST", URL: c.url, Body: []byte("it is day 22"), Scope: match.Scope{Case: c.ofCase},
				Header: httpstream.Fields{{Name: "X-Tenant", Value: c.tenant}, {Name: "Accept-Encoding", Value: c.encodings}},
			}
			got := 0
			x, miss := match.NewIndex(tp.Calls, rules).Match(q)
			if x != nil {
				got = x.Number
			}
			if got != c.want {
				t.Errorf("call %d answers, want %d; %v", got, c.want, miss)
			}
		})
	}
}
