package compare

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/internal/legible"
	"github.com/wiretape/wiretape/httpstream/noise"
	"github.com/wiretape/wiretape/httpstream/tape"
)

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

// A fieldChange is a header that differs, with all its values.
type fieldChange struct {
	kind     Kind
	name     string
	rec, now []string
}

// difference shows the values, joined by line ends.
func (f fieldChange) difference(d Difference, what string) Difference {
	rec, now := strings.Join(f.rec, "\n"), strings.Join(f.now, "\n")
	d.Recorded, d.Now = rec, now
	rec, now = legible.OneLine(rec), legible.OneLine(now)
	switch {
	case f.kind == Missing:
		return d.isMissing(what, rec)
	case f.kind == Extra:
		return d.isExtra(what, now)
	case d.Recorded == d.Now:
		return d.titled(what+": another secret, which is not shown", ": recorded "+rec+", now "+now)
	}
	return d.wasNow(what, rec, now)
}

// compareFields compares two sections name by name. ignore may be nil; same tells
// whether two values of the field are equal.
func compareFields(rec, now httpstream.Fields, ignore func(string) bool, same func(name, rec, now string) bool, tell func(fieldChange)) {
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
		if slices.EqualFunc(r, n, func(a, b string) bool { return same(name, a, b) }) {
			continue
		}
		f := fieldChange{kind: Changed, name: spelled(rec, now, name), rec: r, now: n}
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
			vs = append(vs, body.WithoutBoundary(f))
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

// handRedacted is what a value is tried with that was redacted on the tape.
const handRedacted = "wiretape0"

// sameField compares two values of a field. A secret is on no tape, so where the
// recorded value was redacted, the present one is redacted by the same rules.
func (c *Comparer) sameField(name, rec, now string) bool {
	if rec == now || !strings.Contains(rec, tape.Redacted) {
		return rec == now
	}
	if c.opt.Redact.Field(name, now) == rec {
		return true
	}
	byRules := c.opt.Redact.Field(name, strings.ReplaceAll(rec, tape.Redacted, handRedacted)) == rec
	return !byRules && sameAround(rec, now)
}

// sameAround compares a value that was redacted by hand, or by rules that are
// gone: REDACTED stands for any text but an empty one.
func sameAround(rec, now string) bool {
	pieces := strings.Split(rec, tape.Redacted)
	now, ok := strings.CutPrefix(now, pieces[0])
	if !ok {
		return false
	}
	last := len(pieces) - 1
	for _, p := range pieces[1:last] {
		i := strings.Index(now[min(1, len(now)):], p)
		if i < 0 {
			return false
		}
		now = now[1+i+len(p):]
	}
	return len(now) > len(pieces[last]) && strings.HasSuffix(now, pieces[last])
}

func (c *Comparer) compareHead(rec, now *httpstream.ResponseHead) {
	if rec.Status != now.Status {
		c.log.add(func() Difference {
			return Difference{
				Kind: Status, Where: AtStatus, Recorded: fmt.Sprint(rec.Status), Now: fmt.Sprint(now.Status),
			}.titled("status", fmt.Sprintf(": recorded %s, now %s", status(rec.Status), status(now.Status)))
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
	compareFields(rec, now, ignore, c.sameField, func(f fieldChange) {
		c.log.add(func() Difference {
			// No secret of now goes further than this.
			for _, vs := range [][]string{f.rec, f.now} {
				for i := range vs {
					vs[i] = c.opt.Redact.Field(f.name, vs[i])
				}
			}
			d := Difference{Kind: kind, Where: Place(f.name), Rule: &noise.Rule{Key: noise.ResponseHeader, Value: f.name}}
			return f.difference(d, fmt.Sprintf("%s %s", kind, f.name))
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
		}.wasNow(fmt.Sprintf("interim answer %d", i+1), rec, now)
	})
}

// codecOf is that of an answer's body. An answer without one has a
// Content-Encoding only to say what another answer would have.
func codecOf(method string, head *httpstream.ResponseHead) (c *body.Decoder, ok bool) {
	if bodiless(method, head.Status) {
		return nil, true
	}
	return body.NewDecoder(head.Header.Get("Content-Encoding"))
}
