package noise

import "strings"

// RequestRules are the rules that would make a request match in one place, as
// match.Difference names places; none where no rule can. Inside of a text, the
// rules are for what changes by nature, since to ignore all of a prompt would have
// any prompt answered by any other's recording.
func RequestRules(where, recorded, now string) []Rule {
	kind, name, _ := strings.Cut(where, " ")
	member := kind == "body" && strings.HasPrefix(name, "$") && name != "$"
	switch {
	case where == "path":
		return changesByNature(RequestPath, recorded, now)
	case kind == "query" && name != "":
		return []Rule{{RequestQuery, name}}
	case kind == "header" && name != "" && !strings.EqualFold(name, "Content-Type"):
		return []Rule{{RequestHeader, name}}
	case kind != "body":
		return nil
	case member && looksLike(unquote(recorded), unquote(now)) != "":
		return []Rule{{RequestBody, name}}
	}
	if rules := changesByNature(RequestText, recorded, now); rules != nil {
		return rules
	}
	if member {
		return []Rule{{RequestBody, name}}
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
