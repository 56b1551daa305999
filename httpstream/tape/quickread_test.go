package tape

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bothRead reads a file with the quick and with the strict reader. What the quick one
// takes, the strict one must take and read alike.
func bothRead(t *testing.T, q *quickReader, data []byte) (quick bool) {
	t.Helper()
	x, ok := q.decode(data, "x.yaml")
	if !ok {
		return false
	}
	strict, err := decodeExchange(data, "x.yaml")
	if err != nil {
		t.Fatalf("%v, but the quick reader takes\n%s", err, data)
	}
	if d := cmp.Diff(strict, x); d != "" {
		t.Fatalf("the readers differ:\n%s\n%s", d, data)
	}
	return true
}

// plainCall is a call as most are.
func plainCall(i int) string {
	return fmt.Sprintf(`call: %d
service: app
started_us: %d
request:
  method: POST
  url: https://api.example/v1/chat/%d?stream=true&x=%%20
  proto: HTTP/1.1
  tls: "1.3"
  took_us: 153
  headers:
    - Host: api.example
    - User-Agent: client/1.0 (linux; amd64)
    - Accept: "*/*"
    - Content-Type: application/json
    - Content-Length: "17"
    - Authorization: Bearer REDACTED
  body: |-
    {"model":"m",
    	"n":"%dé"}
response:
  at_us: 312000
  status: 200 OK
  headers:
    - Date: Tue, 24 Nov 2026 10:00:%02d GMT
    - Content-Type: application/json; charset=utf-8
    - Content-Length: "11"
    - X-Request-Id: req_%d
    - Server: nginx
    - Vary: Accept-Encoding, Origin
lines: |
  {"t":312000,"text":"{\"n\":%05d}"}
  {"t":312000,"end":"eof"}
`, i, 1000*i, i, i, i%60, i, i)
}

func TestPlainCallsAreReadQuickly(t *testing.T) {
	q := newQuickReader()
	for _, data := range []string{
		plainCall(1), plainCall(2), plainCall(70000), smallCall,
		strings.Replace(plainCall(3), "call: 3", "case: 3\nport: 8080", 1),
		strings.Replace(plainCall(3), "call: 3", "call: 3\ncase: 7", 1),
		plainCall(3)[:strings.Index(plainCall(3), "lines:")] + "stream: streams/call-0003.ndjson\n",
		strings.Replace(smallCall, "  method: GET", `  method: GET
  body_base64: |-
    AAEC`, 1),
	} {
		if !bothRead(t, q, []byte(data)) {
			t.Errorf("the quick reader gives up on\n%s", data)
		}
	}
}

func TestTheQuickReaderReadsAsTheStrictOneDoes(t *testing.T) {
	q := newQuickReader()
	taken := 0
	for seed := range uint64(4000) {
		g := newGenerator(seed)
		x := g.exchange([]Kind{Call, Case}[seed%2], 1+g.IntN(9999))
		x.Interim = x.Interim[:len(x.Interim)*g.IntN(2)]
		if x.Response != nil && g.maybe() {
			x.Lines = append(AppendLine(nil, g.line()), '\n')
		}
		data, err := encodeExchange(x)
		if err != nil {
			t.Fatal(err)
		}
		if bothRead(t, q, data) {
			taken++
		}
		bothRead(t, q, mutated(g.Rand, data))
		bothRead(t, q, mutated(g.Rand, []byte(plainCall(int(seed)+1))))
	}
	if taken < 20 {
		t.Errorf("the quick reader took %d", taken)
	}
}

// mutated changes a file in a place or two: a byte, or a line that comes twice, goes,
// or is indented otherwise.
func mutated(r *rand.Rand, data []byte) []byte {
	lines := bytes.SplitAfter(bytes.Clone(data), []byte{'\n'})
	for range 1 + r.IntN(2) {
		i := r.IntN(len(lines))
		line := lines[i]
		switch r.IntN(7) {
		case 0:
			lines[i] = append(bytes.Clone(line), line...)
		case 1:
			lines[i] = nil
		case 2:
			lines[i] = append([]byte(strings.Repeat(" ", 1+r.IntN(3))), line...)
		case 3:
			lines[i] = bytes.TrimPrefix(line, []byte("  "))
		case 4:
			j := r.IntN(len(lines))
			lines[i], lines[j] = lines[j], lines[i]
		default:
			if len(line) > 0 {
				at := r.IntN(len(line))
				with := awkward[r.IntN(len(awkward))]
				lines[i] = append(append(append([]byte{}, line[:at]...), with...), line[at+r.IntN(2):]...)
			}
		}
	}
	return bytes.Join(lines, nil)
}

func FuzzTheQuickReaderReadsAsTheStrictOneDoes(f *testing.F) {
	f.Add([]byte(smallCall))
	f.Add([]byte(plainCall(1)))
	for seed := range uint64(20) {
		if data, err := encodeExchange(newGenerator(seed).exchange(Call, 1)); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { bothRead(t, newQuickReader(), data) })
}
