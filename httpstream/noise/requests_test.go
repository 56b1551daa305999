package noise

import (
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream/event"
)

func TestRulesForRequestsTakeOutNoMoreThanChanges(t *testing.T) {
	const date = `\d{4}-\d{2}-\d{2}`
	for _, tc := range []struct{ name, where, recorded, now, want string }{
		{"a parameter", "query ts", "1", "2", "request.query ts"},
		{"a header", "header X-Run", "1", "2", "request.header X-Run"},
		{"the media type is no noise", "header Content-Type", "a/b", "a/c", ""},
		{"a member that is an id", "body $.id", `"run_abcdefgh1"`, `"run_abcdefgh2"`, "request.body $.id"},
		{"a member that is a date", "body $.day", `"2026-11-24"`, `"2026-11-25"`, "request.body $.day"},
		{"a member that is a number", "body $.n", "1", "2", "request.body $.n"},
		{"a date inside a prompt", "body $.messages[0].content", `"Today is 2026-11-24."`, `"Today is 2026-11-25."`, "request.text " + date},
		{"a date and a time inside a prompt", "body $.p", `"2026-11-24, at 10:11:12"`, `"2026-11-25, at 13:14:15"`, "request.text " + date + ` request.text \d{2}:\d{2}:\d{2}(\.\d+)?`},
		{"a prompt with another question", "body $.p", `"2026-11-24: why?"`, `"2026-11-25: how?"`, "request.body $.p"},
		{"a date in text", "body", "on 2026-11-24", "on 2026-11-25", "request.text " + date},
		{"a date in a form", "body field day", "2026-11-24", "2026-11-25", "request.text " + date},
		{"other text", "body", "a", "b", ""},
		{"a date in a path", "path", "/v1/2026-11-24/x", "/v1/2026-11-25/x", "request.path " + date},
		{"a name in a path", "path", "/v1/my-container1", "/v1/my-container2", ""},
		{"another path", "path", "/a", "/b", ""},
		{"the whole body", "body $", "1", "2", ""},
		{"the host", "host", "a", "b", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			var where event.Place
			if err := where.UnmarshalText([]byte(tc.where)); err != nil {
				t.Fatal(err)
			}
			for _, r := range RequestRules(where, tc.recorded, tc.now) {
				got = append(got, r.Key+" "+r.Value)
				if _, err := New(r); err != nil {
					t.Error(err)
				}
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("got %q, want %q", s, tc.want)
			}
		})
	}
}

func TestADateInsideAPromptIsKnownNoise(t *testing.T) {
	var changes []Change
	for _, r := range RequestRules(event.At(event.Body, "$.p"), `"Today is 2026-11-24."`, `"Today is 2026-11-25."`) {
		changes = append(changes, Change{Rule: &r, Recorded: "2026-11-24", Now: "2026-11-25", Count: 1})
	}
	if s := Suggest(changes); len(s) != 1 || !s[0].Known || s[0].Key != "request.text" {
		t.Errorf("suggested %+v", s)
	}
}
