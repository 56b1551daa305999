package match

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// A long body is not in memory once its tape is open; it counts all the same.
func TestALongBodyCountsAsAShortOneDoes(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("long ", 1000)
	files := map[string]string{
		"tape.yaml": "version: 2\ncreated: 2026-01-02T03:04:05Z\nby: test\ncomplete: true\n",
		"calls/0001-post.yaml": fmt.Sprintf("call: 1\nstarted_us: 0\nrequest:\n  method: POST\n  url: http://h/a\n  proto: HTTP/1.1\n  took_us: 0\n"+
			"  headers:\n    - Content-Type: application/json\n  body: |-\n    {\"a\":1, \"text\":\"%s\"}\nresponse:\n  at_us: 1\n  status: 204 No Content\n", long),
	}
	if err := os.Mkdir(filepath.Join(dir, "calls"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !tp.Calls[0].Request.Body.InFile {
		t.Fatal("the body is in memory")
	}
	ix := NewIndex(tp.Calls, Rules{Reuse: true})
	if x, miss := ix.Match(ask("POST", "http://h/a", jsonType, fmt.Sprintf(`{"text":%q,"a":1.0}`, long))); x == nil {
		t.Error(miss)
	}
	_, miss := ix.Match(ask("POST", "http://h/a", jsonType, fmt.Sprintf(`{"text":%q,"a":2}`, long)))
	if miss == nil || len(miss.Differences) != 1 || fmt.Sprint(miss.Differences[0].Where) != "body $.a" {
		t.Errorf("%v", miss)
	}
}
