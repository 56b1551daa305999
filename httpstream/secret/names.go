package secret

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// IsName tells names of credentials by their words: API keys, tokens, secrets,
// passwords. Counts and limits of tokens, and the tokens of pages, are no secrets,
// and tests need them.
func IsName(name string) bool {
	words := splitWords(name)
	for i, w := range words {
		next, last := "", ""
		if i+1 < len(words) {
			next = words[i+1]
		}
		if i > 0 {
			last = words[i-1]
		}
		switch {
		case w == "authorization", w == "authentication" && len(words) <= 2 && last == "x":
			return true
		case w == "auth" && last == "x" && next == "":
			return true
		case hasAnySuffix(w, "secret", "password", "passwd", "passphrase", "apikey", "accesskey", "authkey"):
			return true
		case w == "key" && slices.Contains([]string{"api", "access", "auth", "private", "subscription", "functions", "app", "admin"}, last):
			return true
		case strings.HasSuffix(w, "token") && !isHarmlessToken(w, last, next):
			return true
		}
	}
	return false
}

// IsParameter knows the short names, in lower case, that mean a secret in a query or a
// form, where they would not in a header.
func IsParameter(lower string) bool {
	switch lower {
	case "key", "sig", "signature", "auth", "jwt", "pass", "pwd", "hmac", "assertion", "client_assertion", "samlresponse",
		"oauth_verifier", "code_verifier", "otp", "passcode",
		"awsaccesskeyid", "x-amz-signature", "x-amz-credential", "x-goog-signature", "x-goog-credential":
		return true
	}
	return false
}

// IsLikelyParameter knows the names, in lower case, that mean a secret where the value
// looks like one: "code" is also what a country has.
func IsLikelyParameter(lower string) bool {
	switch lower {
	case "code", "session", "session_id", "sessionid", "sid", "ticket", "jsessionid", "phpsessid", "device_code", "relaystate":
		return true
	}
	return false
}

// LooksLikeToken reports whether a value that may be a token is long, one word, and has
// digits.
func LooksLikeToken(value string) bool { return plausible([]byte(value)) }

// LooksRandom reports whether a word that need not be a token can be little else.
func LooksRandom(word string) bool {
	const shortest = 24
	digit, letter := false, false
	for i := range len(word) {
		switch c := word[i]; {
		case '0' <= c && c <= '9':
			digit = true
		case isAlnum(c):
			letter = true
		case c == '.':
			return false
		}
	}
	return digit && letter && len(word) >= shortest
}

// IsHeader tells header fields of credentials by a word in their name (in lower case
// or not): a key, a token, a secret, a signature, an assertion.
func IsHeader(name string) bool {
	if IsName(name) {
		return true
	}
	words := splitWords(name)
	if len(words) > 1 && (words[0] == "sec" || words[0] == "access" && words[1] == "control") {
		return false // Sec-WebSocket-Key and the like say nothing about who asks
	}
	for i, w := range words {
		last := ""
		if i > 0 {
			last = words[i-1]
		}
		switch w {
		case "key":
			switch last {
			case "idempotency", "cache", "surrogate", "partition", "sort", "primary", "routing", "object", "hash", "public", "dedup",
				"deduplication", "deduplicate":
			default:
				return i > 0
			}
		case "jwt", "assertion", "credential", "credentials", "signature", "authentication", "ticket", "oidc":
			return true
		case "auth":
			if i == len(words)-1 {
				return true
			}
		case "session":
			return i > 0 && words[0] == "x"
		}
	}
	return false
}

// memberStrength judges the name of a JSON member by its words.
func memberStrength(name string) strength {
	words := splitWords(name)
	found := no
	for i, w := range words {
		next, last := "", ""
		if i+1 < len(words) {
			next = words[i+1]
		}
		if i > 0 {
			last = words[i-1]
		}
		switch {
		case describes(next):
			// password_hint, secret_name, api_key_id: about a secret, and none
		case hasAnySuffix(w, "secret", "password", "passwd", "passphrase", "apikey", "accesskey", "authkey", "secretkey", "privatekey"):
			return surely
		case w == "pwd" && len(words) == 1, w == "jwt", w == "authorization" && len(words) == 1:
			return surely
		case w == "key" && slices.Contains([]string{"api", "access", "auth", "private", "secret", "subscription", "master", "admin",
			"signing", "encryption", "account", "service"}, last):
			return surely
		case w == "assertion" && last == "client", w == "verifier" && (last == "code" || last == "oauth"), w == "assertion" && len(words) == 1:
			found = max(found, likely)
		case w == "samlresponse", w == "response" && last == "saml":
			return surely
		case strings.HasSuffix(w, "token") && !isHarmlessToken(w, last, next):
			found = likely
		case w == "sessionid", w == "id" && last == "session" && len(words) == 2:
			found = max(found, likely)
		}
	}
	return found
}

// describes tells words that make of a secret's name one of something about it.
func describes(next string) bool {
	switch next {
	case "hint", "name", "length", "policy", "required", "strength", "count", "limit", "usage", "type", "budget", "remaining",
		"expires", "expiry", "expiration", "expired", "ttl", "set", "enabled", "changed", "reset", "at", "in", "url", "uri", "endpoint",
		"version", "format", "file", "path", "field", "id", "ids", "details", "rotation", "status", "age", "info":
		return true
	}
	return false
}

// plausible tells whether the value of a likely name is a secret: a token is long,
// one word, and has digits. What a language model says is rarely all three.
func plausible(value []byte) bool {
	const shortest = 12
	digit := false
	for _, c := range value {
		switch {
		case '0' <= c && c <= '9':
			digit = true
		case c <= ' ' || c >= utf8.RuneSelf:
			return false
		}
	}
	return digit && len(value) >= shortest
}

func hasAnySuffix(s string, suffixes ...string) bool {
	return slices.ContainsFunc(suffixes, func(x string) bool { return strings.HasSuffix(s, x) })
}

func isHarmlessToken(word, last, next string) bool {
	switch next {
	case "count", "limit", "usage", "type", "budget", "remaining", "expires", "expiry", "expiration", "ttl":
		return true
	}
	if word != "token" {
		last = strings.TrimSuffix(word, "token")
	}
	switch last {
	case "page", "next", "prev", "previous", "continuation", "cursor", "sync", "start":
		return true
	}
	return false
}

// splitWords cuts at everything that is no letter or digit, and before the
// capital in camelCase, and makes the words lower case.
func splitWords(name string) []string {
	var words []string
	start, last := 0, rune(0)
	flush := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(name[start:end]))
		}
	}
	for i := 0; i < len(name); {
		c, size := utf8.DecodeRuneInString(name[i:])
		switch {
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			flush(i)
			start = i + size
		case unicode.IsUpper(c) && unicode.IsLower(last):
			flush(i)
			start = i
		}
		last = c
		i += size
	}
	flush(len(name))
	return words
}
