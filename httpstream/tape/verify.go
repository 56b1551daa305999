package tape

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// A Problem is what Verify found wrong in a file.
type Problem struct {
	File string
	Line int // 0 if it is not about one line
	Msg  string
	// Remark says that the tape is sound all the same, and that this may be meant.
	Remark bool
}

func (p Problem) String() string {
	return (&FormatError{File: p.File, Line: p.Line, Msg: p.Msg}).Error()
}

// Verify reads every line of every stream and checks what the format promises:
// numbers, references, times, sizes and hashes. For a sound tape it returns nothing
// but remarks.
func (t *Tape) Verify() []Problem {
	v := &verifier{t: t, streams: map[string]string{}}
	manifest := filepath.Join(t.Dir, manifestName)
	if !t.Manifest.Complete {
		v.add(manifest, 0, "the recording is incomplete: %s", incomplete(t.Manifest.Problems))
	}
	for _, e := range t.CutOff {
		v.add(e.File, e.Line, "%s", e.Msg)
	}
	cases := map[int]httpstream.End{}
	for _, x := range t.Cases {
		cases[x.Number] = v.exchange(x)
	}
	for _, x := range t.Calls {
		for _, n := range append([]int{x.Case}, x.Cases...) {
			if _, ok := cases[n]; n != 0 && !ok {
				v.add(x.File, 0, "belongs to case %d, which is not on the tape", n)
			}
		}
		if how := v.exchange(x); how == httpstream.Open && x.Case != 0 && cases[x.Case] == httpstream.EOF {
			v.remark(x.File, "is open, though case %d, which it belongs to, is complete: the recording ended before the answer did. "+
				"A replay waits there for the app to hang up; if the app needs the end, record again and let it come", x.Case)
		}
	}
	v.unreferenced(callsDir, ".yaml")
	v.unreferenced(casesDir, ".yaml")
	v.unreferenced(streamsDir, ".ndjson")
	return v.found
}

func incomplete(problems []string) string {
	if len(problems) == 0 {
		return "it was killed, or is still running"
	}
	return strings.Join(problems, "; ")
}

type verifier struct {
	t       *Tape
	found   []Problem
	streams map[string]string // stream → the exchange file that names it
}

func (v *verifier) add(file string, line int, format string, args ...any) {
	v.found = append(v.found, Problem{File: file, Line: line, Msg: fmt.Sprintf(format, args...)})
}

func (v *verifier) remark(file, format string, args ...any) {
	v.found = append(v.found, Problem{File: file, Msg: fmt.Sprintf(format, args...), Remark: true})
}

// exchange returns how the answer ended, as far as that can be read.
func (v *verifier) exchange(x *Exchange) httpstream.End {
	number, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(x.File), ".yaml"), "-")
	if n, err := strconv.Atoi(number); err != nil || n != x.Number {
		v.add(x.File, 1, "is number %d, but its name begins with %q", x.Number, number)
	}
	if !x.HasStream() {
		unended := !v.t.Manifest.Complete && x.Failed == ""
		if x.Response != nil || x.Request.Body.InStream || unended {
			v.add(x.File, 0, "has no stream: the recording was cut off")
		}
		return ""
	}
	if x.Stream != "" {
		if other, taken := v.streams[x.Stream]; taken {
			v.add(x.File, 0, "has the same stream as %s", other)
		}
		v.streams[x.Stream] = x.File
	}
	s, err := v.t.Stream(x)
	if err != nil {
		v.failed(x.File, err)
		return ""
	}
	defer s.Close()
	return v.stream(x, s)
}

func (v *verifier) failed(file string, err error) {
	if fe := (*FormatError)(nil); errors.As(err, &fe) {
		v.add(fe.File, fe.Line, "%s", fe.Msg)
		return
	}
	v.add(file, 0, "%v", err)
}

// stream checks the lines. The times of client and server lines count from the
// same origin only in a two-way exchange.
func (v *verifier) stream(x *Exchange, s *StreamReader) (how httpstream.End) {
	var server, client time.Duration
	var size, answer int64
	var frames [2]Messages // of server and client
	sum := sha256.New()
	for {
		l, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			v.failed(x.File, err)
			return ""
		}
		if x.IsWebSocket() && v.t.Manifest.Version >= 2 {
			v.frame(s, &l, &frames)
		}
		last := &server
		if l.End != nil {
			how = l.End.How
		}
		if !l.FromClient {
			answer += int64(len(l.Data))
		}
		if l.FromClient {
			size += int64(len(l.Data))
			sum.Write(l.Data)
			if !x.TwoWay {
				last = &client
			}
			if !x.Request.Body.InStream {
				v.add(s.name, s.line, "a client line, but %s says that the body is not in the stream", filepath.Base(x.File))
			}
		}
		// The end of a two-way answer may be older than client lines above it: those
		// came after the answer had ended.
		if l.At < *last && (l.End == nil || !x.TwoWay) {
			v.add(s.name, s.line, "t is %d, less than in a line above it", l.At.Microseconds())
		}
		*last = max(*last, l.At)
	}
	where := x.Stream
	if where == "" {
		where = "lines"
	}
	if length, ok := contentLength(x); ok && how == httpstream.EOF && length != answer {
		v.add(x.File, 0, "Content-Length of the response is %d, but %s has %d bytes: was it edited? Write Content-Length: %d", length, where, answer, answer)
	}
	b := x.Request.Body
	if b.InStream && b.Size != size {
		v.add(x.File, 0, "the request's body has %d bytes in %s, expected %d", size, where, b.Size)
	} else if b.InStream && b.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
		v.add(x.File, 0, "the request's body in %s does not have the sha256 that is written here", where)
	}
	return how
}

// frame checks that the pieces of a WebSocket frame have as many bytes as it says.
func (v *verifier) frame(s *StreamReader, l *Line, sides *[2]Messages) {
	m := &sides[0]
	if l.FromClient {
		m = &sides[1]
	}
	if l.Frame != nil && m.left > 0 {
		v.add(s.name, s.line, "the frame before lacks %d of the bytes that its \"of\" says: correct that, or split it into frames", m.left)
	}
	if m.Next(l); m.left < 0 {
		v.add(s.name, s.line, "the frame has %d bytes more than its \"of\" says: correct that", -m.left)
		m.left = 0
	}
}

// unreferenced reports files that nothing on the tape refers to.
func (v *verifier) unreferenced(dir, ext string) {
	entries, err := os.ReadDir(filepath.Join(v.t.Dir, dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.add(filepath.Join(v.t.Dir, dir), 0, "%v", err)
	}
	for _, e := range entries {
		file := filepath.Join(v.t.Dir, dir, e.Name())
		switch {
		case strings.HasSuffix(e.Name(), ".tmp"):
			v.add(file, 0, "was left by a killed recording: remove it")
		case e.Name() == ".gitkeep" || e.Name() == ".gitattributes":
		case !strings.HasSuffix(e.Name(), ext):
			v.add(file, 0, "is no part of a tape")
		case dir == streamsDir && v.streams[dir+"/"+e.Name()] == "":
			v.add(file, 0, "belongs to no exchange")
		}
	}
}
