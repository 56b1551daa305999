package tape

import (
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
)

func TestChunksOfControlCharactersAreBase64(t *testing.T) {
	for _, c := range []struct {
		name, data, key string
	}{
		{"zeros", strings.Repeat("\x00", 64), "base64"},
		{"one in eight", strings.Repeat("abcdefg\x00", 16), "base64"},
		{"a few in a text", "\x1b[31m" + strings.Repeat("text ", 30) + "\x1b[0m", "text"},
		{"lines and tabs", strings.Repeat("\r\n\t", 64), "text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := Line{Chunk: httpstream.Chunk{Data: []byte(c.data)}}
			b := AppendLine(nil, &l)
			if !strings.Contains(string(b), `"`+c.key+`":`) {
				t.Errorf("written as %.60s", b)
			}
		})
	}
}
