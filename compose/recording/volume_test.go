package recording

import "testing"

func TestParseVolume(t *testing.T) {
	for _, test := range []struct {
		text, name, folder string
		is, bad            bool
	}{
		{text: "tapes/default"},
		{text: "./volume:tapes"},
		{text: "volume:tapes", name: "tapes", folder: "tape", is: true},
		{text: "volume:tapes/chat", name: "tapes", folder: "chat", is: true},
		{text: "volume:tapes/tape.new", name: "tapes", folder: "tape.new", is: true},
		{text: "volume:", is: true, bad: true},
		{text: "volume:x", is: true, bad: true},
		{text: "volume:-tapes", is: true, bad: true},
		{text: "volume:/etc", is: true, bad: true},
		{text: "volume:tapes/", is: true, bad: true},
		{text: "volume:tapes/..", is: true, bad: true},
		{text: "volume:tapes/a/b", is: true, bad: true},
	} {
		v, is, err := ParseVolume(test.text)
		if is != test.is || (err != nil) != test.bad {
			t.Errorf("%q: %v, %v", test.text, is, err)
			continue
		}
		if !is || test.bad {
			continue
		}
		if v != (Volume{test.name, test.folder}) || v.String() != test.text {
			t.Errorf("%q is %+v, %s", test.text, v, v)
		}
	}
}
