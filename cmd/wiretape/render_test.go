package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream/event"
)

func TestColoursAreForTerminals(t *testing.T) {
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	t.Setenv("NO_COLOR", "")
	if isTerminal(terminal) && !newReporter(terminal, forPeople).color {
		t.Error("a terminal has no colours")
	}
	if newReporter(terminal, forMachines).color {
		t.Error("JSON has colours")
	}
	if newReporter(file, forPeople).color || newReporter(new(bytes.Buffer), forPeople).color {
		t.Error("a file has colours")
	}
	t.Setenv("NO_COLOR", "1")
	if newReporter(terminal, forPeople).color {
		t.Error("NO_COLOR is not heeded")
	}
}

func TestEveryEventHasALineAndAnObject(t *testing.T) {
	events := []event.Event{
		{Exchange: &event.Exchange{Kind: event.CallEnded, Service: "chat", URL: "https://a.example.com/", Method: "GET", Failed: "why"}},
		{Exchange: &event.Exchange{Kind: event.CaseEnded, Service: "chat", URL: "https://a.example.com/", Method: "GET", Failed: "why"}},
		{Exchange: &event.Exchange{Kind: event.CallEnded}, Miss: &event.Miss{Service: "chat", URL: "https://a.example.com/", Method: "GET"}},
	}
	for _, kind := range []event.NoticeKind{event.Opaque, event.Untrusted, event.Unreachable, event.Misused, event.Unrecorded, event.Failed, "unheard-of"} {
		events = append(events, event.Event{Notice: &event.Notice{Kind: kind, Service: "chat", About: "https://a.example.com/", Detail: "why", Next: "do this"}})
	}
	for i := range events {
		e := &events[i]
		typ := e.Type()
		var text, object bytes.Buffer
		newReporter(&text, forPeople).event(e)
		newReporter(&object, forMachines).event(e)
		if s := text.String(); !strings.HasSuffix(s, "\n") || !strings.Contains(s, "a.example.com") || strings.Contains(s, "\x1b") {
			t.Errorf("%s is shown as %q", typ, s)
		}
		if s := object.String(); strings.Count(s, "\n") != 1 || !strings.HasPrefix(s, `{"type":"`+typ+`"`) {
			t.Errorf("%s is written as %q", typ, s)
		}
	}
}

func TestWhatPackageFlagSaysIsSaidInOurWords(t *testing.T) {
	for in, want := range map[string]string{
		"flag provided but not defined: -nope":           "there is no flag --nope",
		"flag provided but not defined: -z":              "there is no flag -z",
		"flag needs an argument: -f":                     "-f needs a value",
		`invalid value "x" for flag -speed: parse error`: `--speed can't be "x"`,
		"something else":                                 "something else",
	} {
		if got := flagError(in); got != want {
			t.Errorf("%q is said as %q, want %q", in, got, want)
		}
	}
}

func TestALongURLKeepsItsHostAndItsEnd(t *testing.T) {
	short := "https://api.example.com/v1/chat?model=a"
	if got := shortURL(short); got != short {
		t.Errorf("%q", got)
	}
	long := "https://api.example.com/v1/search?q=" + strings.Repeat("é", 4000) + "&page=17"
	got := shortURL(long)
	if n := utf8.RuneCountInString(got); n != 120 || !utf8.ValidString(got) || !strings.HasPrefix(got, "https://api.example.com/v1/search?q=") || !strings.HasSuffix(got, "&page=17") {
		t.Errorf("%d: %q", n, got)
	}
	r := newReporter(io.Discard, forPeople)
	if line := r.text(&event.Event{Exchange: &event.Exchange{Kind: event.CallEnded, Method: "GET", URL: long, Status: 200}}); len(line) > 300 {
		t.Errorf("the line has %d bytes", len(line))
	}
}
