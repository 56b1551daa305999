package compare

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/wiretape/wiretape/httpstream/jsonvalue"
)

// A jsonChange is one difference between two documents. To is the place in the
// second document of an element that moved.
type jsonChange struct {
	kind     Kind
	at, to   *jsonvalue.Place
	rec, now any
	note     string
}

// diffDocuments tells every difference of value, those of repeated names last.
func diffDocuments(rec, now *jsonvalue.Document, tell func(jsonChange)) {
	diffValues(rec.Value, now.Value, nil, tell)
	a, b := rec.RepeatsByPath(), now.RepeatsByPath()
	places := map[string]*jsonvalue.Place{}
	for _, r := range slices.Concat(rec.Repeats, now.Repeats) {
		places[r.At.String()] = r.At
	}
	for _, p := range slices.Sorted(maps.Keys(places)) {
		if string(a[p]) == string(b[p]) {
			continue
		}
		note := "the name occurs more than once, with other values than recorded"
		kind := Changed
		switch {
		case a[p] == nil:
			note, kind = "the name occurs more than once now", Extra
		case b[p] == nil:
			note, kind = "the name occurred more than once when recorded", Missing
		}
		tell(jsonChange{kind: kind, at: places[p], note: note})
	}
}

func diffValues(rec, now any, at *jsonvalue.Place, tell func(jsonChange)) {
	switch r := rec.(type) {
	case map[string]any:
		if n, ok := now.(map[string]any); ok {
			diffObjects(r, n, at, tell)
			return
		}
	case []any:
		if n, ok := now.([]any); ok {
			diffArrays(r, n, at, tell)
			return
		}
	case json.Number:
		if n, ok := now.(json.Number); ok && (r == n || jsonvalue.CanonicalNumber(string(r)) == jsonvalue.CanonicalNumber(string(n))) {
			return
		}
	default: // string, bool, nil, ignored
		switch now.(type) {
		case map[string]any, []any:
		default:
			if rec == now {
				return
			}
		}
	}
	tell(jsonChange{kind: Changed, at: at, rec: rec, now: now})
}

func diffObjects(rec, now map[string]any, at *jsonvalue.Place, tell func(jsonChange)) {
	for _, k := range slices.Sorted(maps.Keys(rec)) {
		if n, ok := now[k]; ok {
			diffValues(rec[k], n, at.Member(k), tell)
		} else {
			tell(jsonChange{kind: Missing, at: at.Member(k), rec: rec[k]})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(now)) {
		if _, ok := rec[k]; !ok {
			tell(jsonChange{kind: Extra, at: at.Member(k), now: now[k]})
		}
	}
}

func diffArrays(rec, now []any, at *jsonvalue.Place, tell func(jsonChange)) {
	if len(rec) == 1 && len(now) == 1 {
		diffValues(rec[0], now[0], at.Element(0), tell)
		return
	}
	for _, s := range alignKeys(canonicals(rec), canonicals(now)) {
		switch s.kind {
		case Changed:
			diffValues(rec[s.rec], now[s.now], at.Element(s.rec), tell)
		case Missing:
			tell(jsonChange{kind: Missing, at: at.Element(s.rec), rec: rec[s.rec]})
		case Extra:
			tell(jsonChange{kind: Extra, at: at.Element(s.now), now: now[s.now]})
		case Reordered:
			tell(jsonChange{kind: Reordered, at: at.Element(s.rec), to: at.Element(s.now), rec: rec[s.rec], now: now[s.now]})
		}
	}
}

func canonicals(vs []any) []string {
	keys := make([]string, len(vs))
	for i, v := range vs {
		keys[i] = string(jsonvalue.AppendCanonical(nil, v))
	}
	return keys
}
