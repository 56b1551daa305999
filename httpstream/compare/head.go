package compare

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// redacted is what a tape holds in place of a credential.
const redacted = "REDACTED"

// ignoredByDefault is the headers that say nothing about the answer: those of
// the connection (RFC 9110 section 7.6.1), the clock's, and the length where the
// body is compared anyway.
func ignoredByDefault(name string, compareLength bool) bool {
	switch strings.ToLower(name) {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "date", "age":
		return true
	case "content-length":
		return !compareLength
	}
	return false
}

// A fieldChange is a header that differs, all its values joined by line ends.
type fieldChange struct {
	kind     Kind
	name     string
	rec, now string
}

func (f fieldChange) message(what string) string {
	switch f.kind {
	case Missing:
		return fmt.Sprintf("%s is missing: %s", what, excerpt(oneLine(f.rec), 0, maxQuote))
	case Extra:
		return fmt.Sprintf("%s was not recorded: %s", what, excerpt(oneLine(f.now), 0, maxQuote))
	}
	return wasNow(what, oneLine(f.rec), oneLine(f.now))
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " | ") }

// compareFields compares two sections name by name. ignore may be nil.
func compareFields(rec, now httpstream.Fields, ignore func(string) bool, tell func(fieldChange)) {
	var names []string
	for _, f := range slices.Concat(rec, now) {
		names = append(names, strings.ToLower(f.Name))
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if ignore != nil && ignore(name) {
			continue
		}
		r, n := values(rec, name), values(now, name)
		if slices.EqualFunc(r, n, sameValue) {
			continue
		}
		f := fieldChange{kind: Changed, name: spelled(rec, now, name), rec: strings.Join(r, "\n"), now: strings.Join(n, "\n")}
		switch {
		case len(n) == 0:
			f.kind = Missing
		case len(r) == 0:
			f.kind = Extra
		}
		tell(f)
	}
}

// values are those of one name; one field with "a, b" and two fields stay
// different, because for Set-Cookie they are (RFC 9110 section 5.3).
func values(fs httpstream.Fields, name string) []string {
	var vs []string
	for _, f := range fs {
		if strings.EqualFold(f.Name, name) {
			vs = append(vs, withoutBoundary(f))
		}
	}
	return vs
}

// spelled is the name as the recording spells it, else as it is spelled now.
func spelled(rec, now httpstream.Fields, name string) string {
	for _, f := range slices.Concat(rec, now) {
		if strings.EqualFold(f.Name, name) {
			return f.Name
		}
	}
	return name
}

// sameValue compares two values; REDACTED in the recorded one stands for any text.
func sameValue(rec, now string) bool {
	if rec == now {
		return true
	}
	pieces := strings.Split(rec, redacted)
	if len(pieces) == 1 || !strings.HasPrefix(now, pieces[0]) {
		return false
	}
	now = now[len(pieces[0]):]
	last := pieces[len(pieces)-1]
	for _, p := range pieces[1 : len(pieces)-1] {
		i := strings.Index(now, p)
		if i < 0 {
			return false
		}
		now = now[i+len(p):]
	}
	return strings.HasSuffix(now, last)
}

func (c *Comparer) compareHead(rec, now *httpstream.ResponseHead) {
	if rec.Status != now.Status {
		c.log.add(func() Difference {
			return Difference{
				Kind: Status, Where: "status", Recorded: fmt.Sprint(rec.Status), Now: fmt.Sprint(now.Status),
				Message: fmt.Sprintf("status: recorded %s, now %s", status(rec.Status), status(now.Status)),
			}
		})
	}
	// Without a body to compare, the length is all there is.
	length := strings.EqualFold(c.rec.Method, http.MethodHead) || rec.Status == http.StatusNotModified
	c.compareSection(Header, rec.Header, now.Header, length)
}

func status(code int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}

// compareSection compares headers or trailers under the response.header rules.
func (c *Comparer) compareSection(kind Kind, rec, now httpstream.Fields, length bool) {
	ignore := func(name string) bool {
		return ignoredByDefault(name, length) || c.opt.Rules.IgnoreResponseHeader(name)
	}
	compareFields(rec, now, ignore, func(f fieldChange) {
		c.log.add(func() Difference {
			return Difference{
				Kind: kind, Where: f.name, Recorded: f.rec, Now: f.now,
				Message: f.message(fmt.Sprintf("%s %s", kind, f.name)), Rule: &Rule{keyResponseHeader, f.name},
			}
		})
	})
}

// compareInterim compares the 1xx answers, other than 100, which depends on how
// fast the client sends (RFC 9110 section 15.2.1).
func (c *Comparer) compareInterim(rec []tape.Response, now []httpstream.ResponseHead) {
	var heads []httpstream.ResponseHead
	for _, r := range rec {
		if r.Head.Status != http.StatusContinue {
			heads = append(heads, r.Head)
		}
	}
	for i := range max(len(heads), len(now)) {
		switch {
		case i >= len(now):
			c.interim(i, status(heads[i].Status), "none")
		case i >= len(heads):
			c.interim(i, "none", status(now[i].Status))
		case heads[i].Status != now[i].Status:
			c.interim(i, status(heads[i].Status), status(now[i].Status))
		default:
			c.compareSection(Interim, heads[i].Header, now[i].Header, true)
		}
	}
}

func (c *Comparer) interim(i int, rec, now string) {
	c.log.add(func() Difference {
		return Difference{
			Kind: Interim, Index: i + 1, Recorded: rec, Now: now,
			Message: wasNow(fmt.Sprintf("interim answer %d", i+1), rec, now),
		}
	})
}
