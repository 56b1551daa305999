package tape

import (
	"strings"

	"github.com/wiretape/wiretape/httpstream/secret"
)

// redactCredentials keeps the authentication scheme (RFC 9110 section 11.4) where
// it is a known one: the first word of anything else may be the secret.
func redactCredentials(value string) string {
	scheme, _, found := strings.Cut(value, " ")
	if found && isScheme(scheme) {
		return scheme + " " + Redacted
	}
	return Redacted
}

func isScheme(s string) bool {
	switch strings.ToLower(s) {
	case "basic", "bearer", "digest", "dpop", "gnap", "hoba", "mutual", "negotiate", "ntlm", "oauth",
		"privatetoken", "scram-sha-1", "scram-sha-256", "vapid", "concealed", // the IANA registry
		"token", "key", "apikey", "api-key", "hawk", "mac", "jwt", "signature", "sharedkey", "sharedkeylite",
		"sharedaccesssignature", "googlelogin", "aws", "aws4-hmac-sha256", "aws4-ecdsa-p256-sha256",
		"goog4-hmac-sha256", "goog4-rsa-sha256":
		return true
	}
	return false
}

// redactCookie keeps the names (RFC 6265 section 4.2).
func redactCookie(value string) string {
	pairs := strings.Split(value, ";")
	for i, p := range pairs {
		pairs[i] = redactPair(p)
	}
	return strings.Join(pairs, ";")
}

// redactPair keeps the name of " name=value" and its leading space; a value
// without a name is a secret as well.
func redactPair(p string) string {
	text := strings.TrimLeft(p, " \t")
	space := p[:len(p)-len(text)]
	name, v, found := strings.Cut(text, "=")
	switch {
	case found && v == "" || text == "":
		return p
	case found:
		return space + name + "=" + Redacted
	default:
		return space + Redacted
	}
}

// redactSetCookie keeps the name and the known attributes (RFC 6265 section 4.1);
// an unknown one may be a part of a value that has a semicolon in it.
func redactSetCookie(value string) string {
	parts := strings.Split(value, ";")
	for i, p := range parts {
		name, _, _ := strings.Cut(p, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "expires", "max-age", "domain", "path", "secure", "httponly", "samesite", "partitioned",
			"priority", "version", "comment":
			if i > 0 {
				parts[i] = redactFolded(p)
				continue
			}
		}
		parts[i] = redactPair(p)
	}
	return strings.Join(parts, ";")
}

// redactFolded redacts the cookies behind an attribute's value where several fields
// were made one, with commas between them. A date has a comma, too, and no "=".
func redactFolded(attribute string) string {
	pieces := strings.Split(attribute, ",")
	for i, p := range pieces[1:] {
		if strings.Contains(p, "=") {
			pieces[i+1] = redactPair(p)
		}
	}
	return strings.Join(pieces, ",")
}

// redactChallenges keeps what a challenge asks for (RFC 9110 section 11.6.1), and
// replaces what answers depend on: nonces, and the tokens of NTLM and Negotiate.
func redactChallenges(value string) string {
	scheme, rest, _ := strings.Cut(value, " ")
	if l := strings.ToLower(scheme); rest != "" && (l == "ntlm" || l == "negotiate") {
		return scheme + " " + Redacted
	}
	var b strings.Builder
	for len(value) > 0 {
		end, quoted := 0, false
		for end < len(value) && (quoted || value[end] != ',') {
			switch {
			case value[end] == '"':
				quoted = !quoted
			case quoted && value[end] == '\\' && end+1 < len(value):
				end++
			}
			end++
		}
		param := value[:end]
		name, v, found := strings.Cut(param, "=")
		word := strings.ToLower(name[strings.LastIndexByte(name, ' ')+1:])
		switch {
		case !found || v == "" || word != "nonce" && word != "opaque" && !secret.IsParameter(word) && !secret.IsName(word):
			b.WriteString(param)
		case v[0] == '"':
			b.WriteString(name + `="` + Redacted + `"`)
		default:
			b.WriteString(name + "=" + Redacted)
		}
		if value = value[end:]; value != "" {
			b.WriteByte(',')
			value = value[1:]
		}
	}
	return b.String()
}

// redactSubprotocols handles keys that browsers can only send as a WebSocket
// subprotocol: OpenAI's realtime API and Kubernetes take them there behind a prefix,
// others as an item of its own, as a rule behind one that says what it is.
func redactSubprotocols(value string) string {
	items := strings.Split(value, ",")
	for i, item := range items {
		word := strings.Trim(item, " \t")
		if word != Redacted && (i > 0 && announcesToken(items[i-1]) || secret.LooksRandom(word)) {
			items[i] = strings.Replace(item, word, Redacted, 1)
			continue
		}
		items[i] = redactTokens(item)
		for _, prefix := range []string{"openai-insecure-api-key.", "base64url.bearer.authorization.k8s.io."} {
			if j := strings.Index(strings.ToLower(item), prefix); j >= 0 {
				items[i] = item[:j+len(prefix)] + Redacted
			}
		}
	}
	return strings.Join(items, ",")
}

func announcesToken(item string) bool {
	switch strings.ToLower(strings.Trim(item, " \t")) {
	case "bearer", "token", "access_token", "authorization", "auth", "jwt", "apikey", "api-key", "api_key", "key":
		return true
	}
	return false
}

// links redacts the targets in <…> of a Link field (RFC 8288).
func (r *Redactor) links(value string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(value, "<")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		target, after, closed := strings.Cut(rest, ">")
		b.WriteString("<" + r.URL(target))
		if !closed {
			return b.String()
		}
		b.WriteByte('>')
		value = after
	}
}
