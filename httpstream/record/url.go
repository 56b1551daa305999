package record

import (
	"strings"

	"github.com/wiretape/wiretape/httpstream"
)

// requestURL is the absolute URL of a request (RFC 9110 section 7.1): the
// target's own if it is in absolute form, else made from the connection and the
// authority. Scheme and host are lower case, a default port is left out, and
// path and query stay as they were sent.
func requestURL(c *Conn, head *httpstream.RequestHead) string {
	scheme := c.Scheme
	if scheme == "" {
		scheme = head.Scheme
	}
	if scheme == "" {
		scheme = "http"
	}
	authority := head.Authority
	target := head.Target
	if s, a, rest, ok := splitAbsolute(target); ok {
		scheme, authority, target = s, a, rest
	} else if authority == "" {
		authority = c.Authority
	} else if _, port := splitPort(authority); port == "" {
		// The client may name the host alone although it went to another port.
		if _, port := splitPort(c.Authority); port != "" {
			authority += ":" + port
		}
	}
	switch {
	case target == "*": // RFC 9112 section 3.2.4
		target = ""
	case strings.EqualFold(head.Method, "CONNECT") && head.Protocol == "":
		if target != "" { // authority form, RFC 9112 section 3.2.3
			authority = target
		}
		target = ""
	}
	scheme = strings.ToLower(scheme)
	return scheme + "://" + withoutDefaultPort(scheme, strings.ToLower(authority)) + target
}

// connURL is the URL of a connection on which no request came.
func connURL(c *Conn) string {
	scheme := c.Scheme
	if scheme == "" {
		scheme = "tcp"
	}
	return scheme + "://" + withoutDefaultPort(scheme, strings.ToLower(c.Authority))
}

// splitAbsolute splits a target in absolute form (RFC 9112 section 3.2.2) before
// its path. The authority may have user information, which redaction takes out.
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

// splitPort splits host:port; an IPv6 address stands in brackets.
func splitPort(authority string) (host, port string) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return authority, ""
	}
	return authority[:i], authority[i+1:]
}

func withoutDefaultPort(scheme, authority string) string {
	host, port := splitPort(authority)
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" || port == "" {
		return host
	}
	return authority
}
