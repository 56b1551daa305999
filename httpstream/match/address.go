package match

import (
	"cmp"
	"slices"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
)

// An address is a URL taken apart and normalised as in RFC 3986 section 6.2.2
// and 6.2.3, except that dot segments stay: servers see them.
type address struct {
	scheme, host string
	port         string // empty if it is the scheme's own
	path         string
	query        string // raw
}

func (a address) hostPort() string {
	if a.port == "" {
		return a.host
	}
	return a.host + ":" + a.port
}

// dialed is host and port, the port always there.
func (a address) dialed() string {
	switch {
	case a.port != "":
		return a.host + ":" + a.port
	case a.scheme == "http":
		return a.host + ":80"
	}
	return a.host + ":443"
}

// parseAddress never fails: what it can't take apart stays in one piece.
func parseAddress(url string) address {
	var a address
	rest := url
	if scheme, after, ok := strings.Cut(url, "://"); ok {
		a.scheme, rest = strings.ToLower(scheme), after
	}
	if i := strings.IndexByte(rest, '#'); i >= 0 {
		rest = rest[:i]
	}
	rest, a.query, _ = strings.Cut(rest, "?")
	authority := rest
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, a.path = rest[:i], rest[i:]
	}
	// User information travels in Authorization, if at all.
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	a.host, a.port = httpstream.SplitPort(strings.ToLower(authority))
	if a.port == "80" && (a.scheme == "http" || a.scheme == "ws") || a.port == "443" && (a.scheme == "https" || a.scheme == "wss") {
		a.port = ""
	}
	a.path = normalPath(a.path)
	return a
}

// hasPath reports whether a URL has anything behind its authority.
func hasPath(url string) bool {
	_, rest, found := strings.Cut(url, "://")
	return !found || strings.ContainsAny(rest, "/?#")
}

// normalPath writes percent-encoding in upper case and decodes what needs none.
func normalPath(p string) string {
	if p == "" {
		return "/"
	}
	if !strings.Contains(p, "%") {
		return p
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		c, ok := escaped(p, i)
		switch {
		case !ok:
			b.WriteByte(p[i])
			continue
		case unreserved(c):
			b.WriteByte(c)
		default:
			b.WriteString(strings.ToUpper(p[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

// escaped decodes the %XX at s[i:].
func escaped(s string, i int) (c byte, ok bool) {
	if s[i] != '%' || i+2 >= len(s) {
		return 0, false
	}
	hi, ok1 := hexDigit(s[i+1])
	lo, ok2 := hexDigit(s[i+2])
	return hi<<4 | lo, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// unreserved is RFC 3986 section 2.3.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// A pair is one name and value of a query or form.
type pair struct{ name, value string }

func (r *Rules) pairs(query string) []pair {
	if query == "" {
		return nil
	}
	ps, _ := parsePairs(query)
	if r.IgnoreQuery != nil {
		ps = slices.DeleteFunc(ps, func(p pair) bool { return r.IgnoreQuery(p.name) })
	}
	return ps
}

// parsePairs reads application/x-www-form-urlencoded text into sorted pairs, so
// that two texts with the same values for each name give the same result. A bad
// escape stays as it is, and clean is false.
func parsePairs(s string) (ps []pair, clean bool) {
	clean = true
	for part := range strings.SplitSeq(s, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, ok1 := unescape(name)
		value, ok2 := unescape(value)
		clean = clean && ok1 && ok2
		ps = append(ps, pair{name, value})
	}
	sortPairs(ps)
	return ps, clean
}

func sortPairs(ps []pair) {
	slices.SortFunc(ps, func(a, b pair) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
}

func unescape(s string) (_ string, clean bool) {
	if !strings.ContainsAny(s, "%+") {
		return s, true
	}
	clean = true
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c, ok := escaped(s, i); {
		case ok:
			b = append(b, c)
			i += 2
		case s[i] == '+':
			b = append(b, ' ')
		default:
			clean = clean && s[i] != '%'
			b = append(b, s[i])
		}
	}
	return string(b), clean
}
