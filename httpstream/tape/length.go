package tape

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
)

// maxEdited is how long the stream file of an answer is that FollowLengths looks
// into: what a person edits is shorter.
const maxEdited = 1 << 20

// FollowLengths gives each call's HTTP/1 answer whose stream was edited by hand the
// Content-Length that the stream has now, here and not on the disk: a client would
// be cut off, or take the rest for the next answer. What can't be read stays as it
// is; to play it says why.
func (t *Tape) FollowLengths() {
	onAllProcessors(len(t.Calls), func() func(int) {
		return func(i int) { t.followLength(t.Calls[i]) }
	})
}

func (t *Tape) followLength(x *Exchange) {
	length, ok := contentLength(x)
	if !ok || !strings.HasPrefix(x.Response.Head.Proto, "HTTP/1.") {
		return
	}
	size, how := t.answerOf(x)
	if how != httpstream.EOF || size == length {
		return
	}
	response := *x.Response
	response.Head.Header = slices.Clone(response.Head.Header)
	for i := range response.Head.Header {
		if f := &response.Head.Header[i]; strings.EqualFold(f.Name, "Content-Length") {
			f.Value = strconv.FormatInt(size, 10)
		}
	}
	x.Response = &response
}

// answerOf is answerSize where a person may have edited the answer and it can be read;
// else its end is empty.
func (t *Tape) answerOf(x *Exchange) (size int64, how httpstream.End) {
	if x.linesInFile() {
		if size, ok := t.edited[x]; ok {
			return size, httpstream.EOF
		}
		return 0, ""
	}
	if x.Stream != "" {
		info, err := os.Stat(filepath.Join(t.Dir, filepath.FromSlash(x.Stream)))
		if err != nil || info.Size() > maxEdited {
			return 0, ""
		}
	}
	s, err := t.Stream(x)
	if err != nil {
		return 0, ""
	}
	defer s.Close()
	size, how, err = answerSize(s)
	if err != nil {
		return 0, ""
	}
	return size, how
}

// contentLength is the length that the answer's head gives its body; false if it
// gives none (RFC 9112 section 6.3).
func contentLength(x *Exchange) (n int64, ok bool) {
	if x.Response == nil || x.Request.Method == http.MethodHead || x.Request.Method == http.MethodConnect {
		return 0, false
	}
	head := &x.Response.Head
	if head.Status < 200 || head.Status == http.StatusNoContent || head.Status == http.StatusNotModified || head.Header.Has("Transfer-Encoding") {
		return 0, false
	}
	n, err := strconv.ParseInt(head.Header.Get("Content-Length"), 10, 64)
	return n, err == nil
}
