// Command secretrules writes the shapes of secrets that wiretape knows from the rules
// of gitleaks. Its own go.mod says of which version: to take a newer one,
//
//	go -C dev/secretrules get github.com/zricethezav/gitleaks/v8@latest && go generate ./httpstream/secret
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/zricethezav/gitleaks/v8/config"
)

// A shape is a row of the file that is written; package secret has its reader.
type shape struct {
	ID       string   `json:"id"`
	Prefixes []string `json:"prefixes"`
	Regex    string   `json:"regex"`
}

// minPrefix is the shortest beginning, in bytes, that a shape can be looked for by.
const minPrefix = 2

// left are rules that say nothing about what passes in HTTP, commands and files, and
// those that package secret has in its own words.
var left = []string{"curl-auth-header", "curl-auth-user", "kubernetes-secret-yaml", "freemius-secret-key", "nuget-config-password",
	"private-key", "jwt", "sidekiq-sensitive-url", "microsoft-teams-webhook",
	"aws-amazon-bedrock-api-key-short-lived"}

// behind is what many rules want to stand behind a secret. A field of a protobuf
// message, for one, has other bytes there, and the pattern takes as much as it can.
var behind = []string{"(?:[\\x60'\"\\s;]|\\\\[nr]|$)", "(?:[\\x60'\"\\s;]|\\\\[nr]|$|\\b)", `(?:[^\w-]|\z)`}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "secretrules:", err)
		os.Exit(1)
	}
}

func run(file string) error {
	var rules struct {
		Rules []struct {
			ID    string
			Regex string
			Path  string
		}
	}
	if err := toml.Unmarshal([]byte(config.DefaultConfig), &rules); err != nil {
		return err
	}
	var shapes []shape
	var infix []string
	for _, r := range rules.Rules {
		// Those that begin so look for a vendor's name and an assignment in source code.
		if r.Regex == "" || strings.Contains(r.Regex, `[\w.-]{0,50}?`) || slices.Contains(left, r.ID) {
			continue
		}
		text := strings.TrimPrefix(r.Regex, `\b`)
		for _, b := range behind {
			text = strings.TrimSuffix(text, b)
		}
		re, err := syntax.Parse(text, syntax.Perl)
		if err != nil {
			return fmt.Errorf("%s: %w", r.ID, err)
		}
		if _, err := regexp.Compile(text); err != nil {
			return fmt.Errorf("%s: %w", r.ID, err)
		}
		prefixes, _ := beginnings(re)
		slices.Sort(prefixes)
		prefixes = slices.Compact(prefixes)
		if len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(p string) bool { return len(p) < minPrefix }) {
			infix = append(infix, r.ID)
			continue
		}
		shapes = append(shapes, shape{r.ID, prefixes, text})
	}
	slices.SortFunc(shapes, func(a, b shape) int { return strings.Compare(a.ID, b.ID) })
	fmt.Printf("secretrules: %d shapes; left out, since they have no beginning to look for: %s\n", len(shapes), strings.Join(infix, ", "))

	var b strings.Builder
	b.WriteString("[\n")
	for i, s := range shapes {
		row, err := json.Marshal(s)
		if err != nil {
			return err
		}
		b.Write(row)
		if i < len(shapes)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// maxBeginnings bounds how many ways a pattern may begin, and maxClass how many
// characters of a class are told apart.
const (
	maxBeginnings = 16
	maxClass      = 4
)

// beginnings are the texts, in lower case, one of which all that matches begins with;
// whole is set where the text is all of the match.
func beginnings(re *syntax.Regexp) (texts []string, whole bool) {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{strings.ToLower(string(re.Rune))}, true
	case syntax.OpCapture:
		return beginnings(re.Sub[0])
	case syntax.OpEmptyMatch, syntax.OpWordBoundary, syntax.OpBeginText, syntax.OpBeginLine:
		return []string{""}, true
	case syntax.OpQuest:
		texts, whole = beginnings(re.Sub[0])
		return append(texts, ""), whole && len(texts) < maxBeginnings
	case syntax.OpRepeat:
		if re.Min == 0 {
			return []string{""}, false
		}
		texts, _ = beginnings(re.Sub[0])
		return texts, false
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			for c := re.Rune[i]; c <= re.Rune[i+1]; c++ {
				if texts = append(texts, strings.ToLower(string(c))); len(texts) > maxClass {
					return []string{""}, false
				}
			}
		}
		return texts, true
	case syntax.OpAlternate:
		whole = true
		for _, sub := range re.Sub {
			t, w := beginnings(sub)
			texts, whole = append(texts, t...), whole && w
		}
		return texts, whole
	case syntax.OpConcat:
		texts, whole = []string{""}, true
		for _, sub := range re.Sub {
			next, w := beginnings(sub)
			if len(texts)*len(next) > maxBeginnings {
				return texts, false
			}
			var longer []string
			for _, t := range texts {
				for _, n := range next {
					longer = append(longer, t+n)
				}
			}
			if texts, whole = longer, w; !w {
				return texts, false
			}
		}
		return texts, whole
	}
	return []string{""}, false
}
