package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
)

func TestWhatTheAppSaidOtherwiseInACallFailsItsCaseAndComesFirst(t *testing.T) {
	run := &Run{Cases: []CaseResult{{
		Number: 2, Name: "0002-post-ws", Method: "POST", URL: "http://localhost/ws", Verdict: &compare.Verdict{Pass: true},
		Unlike: []CallDifference{{
			Call:    event.Call{Number: 2, File: "tapes/default/calls/0002-get-rt.yaml"},
			Problem: event.Problem{Err: errors.New(`the client's message 4 differs: message was "abc", is "ab"`), Next: "if the app is right to say this, record the call again"},
		}},
	}}}
	c := &run.Cases[0]
	c.Conclude(run)
	run.Conclude()
	if c.Status != Fail || run.OK() || c.OnlyTiming() {
		t.Errorf("the case is %s", c.Status)
	}
	const cause = `call 2: the client's message 4 differs: message was "abc", is "ab"`
	var text, junit bytes.Buffer
	Text(&text, run, TextOptions{Width: 120})
	if !strings.Contains(text.String(), cause) || !strings.Contains(text.String(), "calls/0002-get-rt.yaml") {
		t.Errorf("the text is\n%s", &text)
	}
	if err := JUnit(&junit, run); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(junit.String(), "message 4 differs") || !strings.Contains(junit.String(), `type="unlike"`) {
		t.Errorf("JUnit is\n%s", &junit)
	}
	var page bytes.Buffer
	if err := HTML(&page, run); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "said otherwise") {
		t.Error("the page does not say it")
	}
	if h := headline(c); h != cause {
		t.Errorf("the headline is %q", h)
	}
}
