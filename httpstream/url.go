package httpstream

import "strings"

// URL is the absolute URL that a request is for (RFC 9110 section 7.1): the
// target's own if it is in absolute form, else made of the authority and of what
// is known of the connection, its scheme and the host:port that it was made to.
// Scheme and host are lower case, a default port is left out, and path and query
// stay as they were sent.
func (h *RequestHead) URL(scheme, dialed string) string {
	if scheme == "" {
		scheme = h.Scheme
	}
	if scheme == "" {
		scheme = "http"
	}
	authority, target := h.Authority, h.Target
	if s, a, rest, ok := SplitURL(target); ok {
		scheme, authority, target = s, a, rest
	} else if authority == "" {
		authority = dialed
	} else if _, port := SplitPort(authority); port == "" {
		// The client may name the host alone although it went to another port.
		if _, port := SplitPort(dialed); port != "" {
			authority = strings.TrimSuffix(authority, ":") + ":" + port
		}
	}
	switch {
	case target == "*": // RFC 9112 section 3.2.4
		target = ""
	case h.tunnels():
		if target != "" { // authority form, RFC 9112 section 3.2.3
			authority = target
		}
		target = ""
	}
	return OriginURL(scheme, authority) + target
}

// URLAt is the absolute URL of a request in origin form at another origin.
func (h *RequestHead) URLAt(origin string) string {
	if h.Target == "*" || h.tunnels() {
		return origin
	}
	return origin + h.Target
}

func (h *RequestHead) tunnels() bool {
	return strings.EqualFold(h.Method, "CONNECT") && h.Protocol == ""
}

// OffersUpgrade reports whether a request offers another protocol than HTTP (RFC 9110
// section 7.8). An offer of HTTP/2 is none: a server may pass over it, and answers
// the same in either version.
func (h *RequestHead) OffersUpgrade() bool {
	for _, v := range h.Header.Values("Upgrade") {
		for name := range strings.SplitSeq(v, ",") {
			switch strings.ToLower(strings.Trim(name, " \t")) {
			case "", "h2c", "h2":
			default:
				return true
			}
		}
	}
	return false
}

// OriginURL is the URL of a scheme and a host:port, in lower case and without the
// scheme's own port.
func OriginURL(scheme, authority string) string {
	scheme, authority = strings.ToLower(scheme), strings.ToLower(authority)
	host, port := SplitPort(authority)
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" || port == "" {
		authority = host
	}
	return scheme + "://" + authority
}

// SplitURL splits an absolute URL, or a target in absolute form (RFC 9112 section
// 3.2.2), before its path. The authority may have user information; ok is false
// where there is no scheme.
func SplitURL(target string) (scheme, authority, rest string, ok bool) {
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

// OriginForm is the target of a request for an absolute URL, byte for byte as it was
// sent (RFC 9112 section 3.2).
func OriginForm(method, url string) string {
	_, _, rest, ok := SplitURL(url)
	if !ok {
		rest = url
	}
	switch {
	case rest == "" && method == "OPTIONS":
		return "*" // RFC 9112 section 3.2.4
	case rest == "" || rest[0] != '/':
		return "/" + rest
	}
	return rest
}

// SplitPort splits host:port; an IPv6 address stands in brackets.
func SplitPort(authority string) (host, port string) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return authority, ""
	}
	return authority[:i], authority[i+1:]
}
