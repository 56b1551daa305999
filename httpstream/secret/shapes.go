package secret

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"regexp"
	"sync"
)

// shapesJSON is what dev/secretrules makes of the rules of gitleaks
// (https://github.com/gitleaks/gitleaks); LICENSE.gitleaks has their license.
//
//go:generate go -C ../../dev/secretrules run . ../../httpstream/secret/shapes.json
//go:embed shapes.json
var shapesJSON []byte

// A shape is a token that is known by how it is written.
type shape struct {
	ID string `json:"id"`
	// Prefixes are how it may begin, in lower case. What is there stays.
	Prefixes []string `json:"prefixes"`
	Regex    string   `json:"regex"`

	compile func() *regexp.Regexp
}

// further are shapes that gitleaks has no rule for, or only a narrower one.
func further() []shape {
	return []shape{
		{ID: "sk-key", Prefixes: []string{"sk-"}, Regex: `sk-[A-Za-z0-9_-]*[0-9][A-Za-z0-9_-]*`},
		{ID: "google-oauth-token", Prefixes: []string{"ya29."}, Regex: `ya29\.[A-Za-z0-9_-]{20,}`},
		{ID: "google-oauth-client-secret", Prefixes: []string{"gocspx-"}, Regex: `GOCSPX-[A-Za-z0-9_-]{20,}`},
		{ID: "google-refresh-token", Prefixes: []string{"1//0"}, Regex: `1//0[A-Za-z0-9_-]{30,}`},
		{ID: "openai-ephemeral-key", Prefixes: []string{"ek_"}, Regex: `ek_[A-Za-z0-9_]{20,}`},
		{ID: "groq-api-key", Prefixes: []string{"gsk_"}, Regex: `gsk_[A-Za-z0-9]{20,}`},
		{ID: "xai-api-key", Prefixes: []string{"xai-"}, Regex: `xai-[A-Za-z0-9]{20,}`},
		{ID: "replicate-api-token", Prefixes: []string{"r8_"}, Regex: `r8_[A-Za-z0-9]{30,}`},
		{ID: "mailchimp-key", Prefixes: []string{"md-"}, Regex: `md-[A-Za-z0-9_-]{20,}`},
		{ID: "stripe-webhook-secret", Prefixes: []string{"whsec_"}, Regex: `whsec_[A-Za-z0-9+/=]{16,}`},
		{ID: "supabase-key", Prefixes: []string{"sb_secret_", "sbp_"}, Regex: `(?:sb_secret_|sbp_)[A-Za-z0-9_-]{16,}`},
		{ID: "telegram-bot-token", Prefixes: []string{"bot"}, Regex: `bot[0-9]{8,10}:[A-Za-z0-9_-]{35}`},
		{ID: "jwt", Prefixes: []string{"eyj"}, Regex: `eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*`},
		{ID: "jwe", Prefixes: []string{"eyj"}, Regex: `eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`},
		{ID: "aws-bedrock-api-key-short-lived", Prefixes: []string{"bedrock-api-key-"}, Regex: `bedrock-api-key-[A-Za-z0-9+/]{20,}={0,2}`},
		{ID: "microsoft-teams-webhook", Prefixes: []string{"webhookb2/"}, Regex: `webhookb2/[0-9a-f-]{36}@[0-9a-f-]{36}/IncomingWebhook/[0-9a-f]{32}/[0-9a-f-]{36}`},
		{ID: "url-user-info", Prefixes: []string{"://"}, Regex: `://[^/?#@:]*:[^/?#]+@`},
	}
}

// shapes is the table, by the first two bytes of a prefix.
type shapes struct {
	// first is the number of a group; group 0 is empty.
	first  [1 << 16]uint8
	groups [][]*shape
}

// allShapes is made once: it is the same for all, and takes a while.
var allShapes = sync.OnceValue(func() *shapes {
	var list []shape
	if err := json.Unmarshal(shapesJSON, &list); err != nil {
		panic("shapes.json: " + err.Error()) // a test reads it
	}
	list = append(list, further()...)
	t := &shapes{groups: make([][]*shape, 1)}
	for i := range list {
		s := &list[i]
		s.compile = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\A(?:` + s.Regex + `)`) })
		for _, p := range s.Prefixes {
			group := t.first[pair(p[0], p[1])]
			if group == 0 {
				group = uint8(len(t.groups))
				t.groups = append(t.groups, nil)
				for _, a := range bothCases(p[0]) {
					for _, b := range bothCases(p[1]) {
						t.first[pair(a, b)] = group
					}
				}
			}
			if g := t.groups[group]; len(g) == 0 || g[len(g)-1] != s {
				t.groups[group] = append(g, s)
			}
		}
	}
	return t
})

func pair(a, b byte) int { return int(a)<<8 | int(b) }

func bothCases(c byte) []byte {
	if 'a' <= c && c <= 'z' {
		return []byte{c, c - 'a' + 'A'}
	}
	return []byte{c}
}

// prefix is how much of b is a prefix of the shape, compared without case; 0 for none.
func (s *shape) prefix(b []byte) int {
	n := 0
	for _, p := range s.Prefixes {
		if len(b) >= len(p) && len(p) > n && bytes.EqualFold(b[:len(p)], []byte(p)) {
			n = len(p)
		}
	}
	return n
}

// keep is how much of run is the prefix of a token, which stays; 0 if it has none.
func (t *shapes) keep(run []byte) int {
	keep := 0
	for _, candidate := range t.groups[t.first[pair(run[0], run[1])]] {
		keep = max(keep, candidate.prefix(run))
	}
	return keep
}

// at finds a secret that begins with run, and how much of it stays as it is. The
// longest match of all shapes counts.
func (t *shapes) at(run []byte) (s *shape, keep, end int) {
	if len(run) < 2 {
		return nil, 0, 0
	}
	for _, candidate := range t.groups[t.first[pair(run[0], run[1])]] {
		n := candidate.prefix(run)
		if n == 0 {
			continue
		}
		// A stand-in need not match the shape of what it stands for, and keeps its
		// prefix all the same.
		keep = max(keep, n)
		if m := candidate.compile().FindIndex(run); m != nil && m[1] > end {
			s, end = candidate, m[1]
		}
	}
	if s == nil {
		return nil, 0, 0
	}
	switch s.ID {
	case "url-user-info":
		return s, keep, end - len("@")
	case "sk-key":
		if end < len("sk-")+20 {
			return nil, 0, 0
		}
	case "slack-webhook-url":
		keep = pathStart(run[:end])
	}
	// Of a token that is longer than its vendor says, the rest is secret, too.
	for end < len(run) && isTokenByte(run[end]) {
		end++
	}
	return s, keep, end
}

// pathStart is where a URL's second segment begins: the first says what it is for.
func pathStart(url []byte) int {
	at := 0
	if i := bytes.Index(url, []byte("://")); i >= 0 {
		at = i + len("://")
	}
	for range 2 {
		i := bytes.IndexByte(url[at:], '/')
		if i < 0 {
			return at
		}
		at += i + 1
	}
	return at
}

func isTokenByte(c byte) bool {
	return c == '_' || c == '-' || isAlnum(c)
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
