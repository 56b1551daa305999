package replay

import (
	"strings"

	"github.com/wiretape/wiretape/httpstream"
)

// RequestURL returns the absolute URL that a request is for (RFC 9110 section
// 7.1), as tapes name it: lower-case scheme and host, no port where it is the
// scheme's own, path and query as sent. A target in absolute form counts more
// than scheme and authority (host:port), which are those of the connection.
func RequestURL(head *httpstream.RequestHead, scheme, authority string) string {
	target := head.Target
	if scheme == "" {
		scheme = head.Scheme
	}
	if scheme == "" {
		scheme = "http"
	}
	if s, a, rest, ok := splitAbsolute(target); ok {
		scheme, authority, target = s, a, rest
	} else if head.Authority != "" {
		authority = withPort(head.Authority, authority)
	}
	switch {
	case target == "*": // RFC 9112 section 3.2.4
		target = ""
	case head.Method == "CONNECT" && head.Protocol == "": // section 3.2.3
		if target != "" {
			authority = target
		}
		target = ""
	}
	scheme = strings.ToLower(scheme)
	return scheme + "://" + dropPort(strings.ToLower(authority), scheme) + target
}

// splitAbsolute splits a target in absolute form (RFC 9112 section 3.2.2) before its path.
func splitAbsolute(target string) (scheme, authority, rest string, ok bool) {
	scheme, after, found := strings.Cut(target, "://")
	if !found || scheme == "" || strings.ContainsAny(scheme, "/?#") {
		return "", "", "", false
	}
	end := strings.IndexAny(after, "/?#")
	if end < 0 {
		end = len(after)
	}
	return scheme, after[:end], after[end:], true
}

// withPort adds the port of other to a host that has none.
func withPort(host, other string) string {
	if portOf(host) == "" && portOf(other) != "" {
		return strings.TrimSuffix(host, ":") + ":" + portOf(other)
	}
	return host
}

func dropPort(authority, scheme string) string {
	switch port := portOf(authority); {
	case port == "":
		return strings.TrimSuffix(authority, ":")
	case scheme == "http" && port == "80", scheme == "https" && port == "443":
		return strings.TrimSuffix(authority, ":"+port)
	}
	return authority
}

// portOf returns the port of an authority; empty if it has none.
func portOf(authority string) string {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return ""
	}
	return authority[i+1:]
}
