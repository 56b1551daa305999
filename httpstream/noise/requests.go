package noise

import (
	"strings"

	"github.com/wiretape/wiretape/httpstream/event"
)

// RequestRules are the rules that would make a request match in one place; none where
// no rule can. Inside of a text, the rules are for what changes by nature, since to
// ignore all of a prompt would have any prompt answered by any other's recording.
func RequestRules(where event.Place, recorded, now string) []Rule {
	switch {
	case where.Kind == event.Path:
		return changesByNature(RequestPath, recorded, now)
	case where.Kind == event.Query && where.Name != "":
		return []Rule{{RequestQuery, where.Name}}
	case where.Kind == event.Header && where.Name != "" && !strings.EqualFold(where.Name, "Content-Type"):
		return []Rule{{RequestHeader, where.Name}}
	case where.Kind != event.Body && where.Kind != event.FormField && where.Kind != event.Part:
		return nil
	case where.Member() && looksLike(unquote(recorded), unquote(now)) != "":
		return []Rule{{RequestBody, where.Name}}
	}
	if rules := changesByNature(RequestText, recorded, now); rules != nil {
		return rules
	}
	if where.Member() {
		return []Rule{{RequestBody, where.Name}}
	}
	return nil
}

// changesByNature finds the patterns of times and of long ids that make two texts
// equal. Names of the app's own, which other patterns take for ids, may be what
// an answer depends on.
func changesByNature(key, recorded, now string) []Rule {
	rules := textRules(recorded, now)
	for i := range rules {
		switch textPattern(rules[i].Value) {
		case "an id", "a random id", "a duration":
			return nil
		}
		rules[i].Key = key
	}
	return rules
}
