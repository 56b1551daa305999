package tape

import (
	"fmt"
	"net/url"
	"strings"
)

const (
	manifestName = "tape.yaml"
	callsDir     = "calls"
	casesDir     = "cases"
	streamsDir   = "streams"
	// openName is there while a recording runs: the IDs of its records, each with
	// the exchange file that it began. A Writer can go on with it.
	openName = ".open"

	// maxSlug keeps file names short enough to read in a pull request, and far
	// below every file system's limit.
	maxSlug = 80
)

// fileNames returns the exchange file and the stream file of an exchange, with
// slashes, relative to the tape. They depend on kind, number, method and URL
// alone, and leave out the query.
func fileNames(x *Exchange) (exchange, stream string) {
	base := fmt.Sprintf("%04d-%s", x.Number, slug(x))
	dir := callsDir
	if x.Kind == Case {
		dir = casesDir
	}
	return dir + "/" + base + ".yaml", streamsDir + "/" + string(x.Kind) + "-" + base + ".ndjson"
}

// slug is method, host and path in lower-case letters, digits, '.', '_' and '-'.
// A case has no host in it: that is always the app's own.
func slug(x *Exchange) string {
	method := x.Request.Method
	if method == "" {
		method = "connect"
	}
	_, rest, found := strings.Cut(x.Request.URL, "://")
	if !found {
		rest = x.Request.URL
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	host, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	s := method + "-" + host + "-" + path
	if x.Kind == Case {
		s = method + "-" + path
	}
	b := make([]byte, 0, maxSlug)
	for i := 0; i < len(s) && len(b) < maxSlug; i++ {
		switch c := s[i]; {
		case isAlphanumeric(c) || c == '.' || c == '_':
			b = append(b, strings.ToLower(string(rune(c)))...)
		case len(b) > 0 && b[len(b)-1] != '-':
			b = append(b, '-')
		}
	}
	return strings.Trim(string(b), "-.")
}
