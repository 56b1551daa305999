package legible

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestJSONIsShownInItsOrder(t *testing.T) {
	tests := []struct {
		name, in, want string
		style          Style
	}{
		{"one line", `{"b":1,"a":[true,null,"x"]}`, `{"b": 1, "a": [true, null, "x"]}`, Style{}},
		{"a number keeps its digits", `1.50e400`, `1.50e400`, Style{}},
		{"a long string is cut between characters", `"ééééé"`, `"éé"… 6 more`, Style{Most: 5}},
		{"control characters do nothing", `"\u001b[31m\u009b\n<&>"`, `"\u001b[31m\u009b\n<&>"`, Style{}},
		{"what does not fit is broken", `{"a":[1,2],"b":{}}`, "{\n  \"a\": [1, 2],\n  \"b\": {}\n}", Style{Width: 12}},
		{"what fits is not", `{"a":[1,2],"b":{}}`, `{"a": [1, 2], "b": {}}`, Style{Width: 22}},
		{"colours are no part of the width", `[1,2]`, `[<1>, <2>]`, Style{Width: 6, Paint: func(_ Token, s string) string { return "<" + s + ">" }}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := JSON([]byte(tt.in), tt.style); !ok || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, ok, tt.want)
			}
		})
	}
	for _, bad := range []string{"", "{", `{"a":}`, `1 2`, `[1,]`, strings.Repeat("[", 300) + strings.Repeat("]", 300)} {
		if got, ok := JSON([]byte(bad), Style{}); ok {
			t.Errorf("%.20q is shown as %q", bad, got)
		}
	}
}

func FuzzShownJSONIsTheSameValue(f *testing.F) {
	f.Add([]byte(`{"a":[1,"\u0000"],"b":{}}`), 8)
	f.Fuzz(func(t *testing.T, data []byte, width int) {
		shown, ok := JSON(data, Style{Width: max(0, width)})
		if !ok {
			return
		}
		for _, r := range shown {
			if r < ' ' && r != '\n' || r == 0x7f {
				t.Fatalf("%q has the control character %q", shown, r)
			}
		}
		var was, is any
		if json.Unmarshal(data, &was) != nil {
			return
		}
		// Characters that are not printed stand as Go's escapes, which JSON need not know.
		if err := json.Unmarshal([]byte(shown), &is); err == nil && fmt.Sprint(was) != fmt.Sprint(is) {
			t.Fatalf("%q is shown as %q", data, shown)
		}
	})
}
