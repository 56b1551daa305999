package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	h2 "golang.org/x/net/http2"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/http2"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// grpcLike answers with the request's protocol, and with trailers.
func grpcLike(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "Grpc-Status")
	fmt.Fprintf(w, "%s %s", r.Proto, r.URL.Path)
	w.(http.Flusher).Flush()
	io.WriteString(w, "|more")
	w.Header().Set("Grpc-Status", "0")
}

func TestAHostThatSpokeBothProtocolsSpeaksTheClientsOwn(t *testing.T) {
	for _, order := range [][]string{{"http/1.1", "h2"}, {"h2", "http/1.1"}} {
		t.Run("first "+order[0], func(t *testing.T) {
			w := newWorld(t)
			w.https("api.example.com:443", http.HandlerFunc(grpcLike), "h2", "http/1.1")
			rec := w.recordWith(nil, transparent)
			for _, alpn := range order {
				ask(t, rec.client(alpn), "GET", "https://api.example.com/"+alpn, "")
			}
			pb, err := NewPlayback(rec.tape(), PlaybackOptions{Reuse: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { pb.Close() })
			var cfg Config
			pb.Configure(&cfg)
			b := w.serveWith(cfg, transparent)
			protos := map[string]string{"h2": "HTTP/2.0", "http/1.1": "HTTP/1.1"}
			for _, c := range []struct {
				offer []string
				path  string // the protocol that it was recorded in
				want  string
			}{
				{[]string{"h2", "http/1.1"}, "h2", "h2"},
				{[]string{"http/1.1", "h2"}, "http/1.1", "h2"}, // translated
				{[]string{"http/1.1"}, "http/1.1", "http/1.1"},
				{[]string{"http/1.1"}, "h2", "http/1.1"}, // translated
				{[]string{"h2"}, "h2", "h2"},
			} {
				a := ask(t, b.client(c.offer...), "GET", "https://api.example.com/"+c.path, "")
				if a.status != 200 || a.proto != protos[c.want] || a.body != protos[c.path]+" /"+c.path+"|more" || a.trailer.Get("Grpc-Status") != "0" {
					t.Errorf("a client that offers %v got for a call in %s: %v", c.offer, c.path, a)
				}
			}
		})
	}
}

// plainCall is a recorded GET with a text for an answer.
func plainCall(n int, url, text string) *tape.Exchange {
	return &tape.Exchange{
		Kind: tape.Call, Number: n,
		Request: tape.Request{Proto: "HTTP/1.1", Method: "GET", URL: url},
		Response: &tape.Response{Head: httpstream.ResponseHead{
			Proto: "HTTP/1.1", Status: 200, Line: "HTTP/1.1 200 " + text, Header: httpstream.Fields{{Name: "Content-Length", Value: "0"}},
		}},
	}
}

func TestAReverseReplayAnswersFromTheRightOrigin(t *testing.T) {
	calls := []*tape.Exchange{
		plainCall(1, "https://a.example/v1", "a first"),
		plainCall(2, "https://b.example/v1", "b first"),
		plainCall(3, "http://b.example:8080/only", "b only"),
		plainCall(4, "https://a.example/v1", "a again"),
		plainCall(5, "https://a.example/100%", "a percent"),
		plainCall(6, "https://b.example/100%?q=%zz", "b percent"),
	}
	for _, c := range []struct {
		name  string
		heads []string // "TARGET HOST"
		want  []string
	}{
		{"by the Host field", []string{"/v1 b.example", "/v1 A.example:443"}, []string{"200 b first", "200 a first"}},
		{"else in recorded order", []string{"/v1 localhost", "/v1 localhost", "/v1 localhost"}, []string{"200 a first", "200 b first", "200 a again"}},
		{"of what is left", []string{"/v1 a.example", "/v1 localhost", "/v1 localhost"}, []string{"200 a first", "200 b first", "200 a again"}},
		{"where only one has it", []string{"/only localhost"}, []string{"200 b only"}},
		{"though the target is no URL", []string{"/100% localhost", "/100%?q=%zz localhost", "/100% a.example"}, []string{"200 a percent", "200 b percent", "200 a percent"}},
		{"a miss names all of them", []string{"/v2 localhost"}, []string{"https://a.example/v2 or https://b.example/v2 or http://b.example:8080/v2"}},
		{"a miss names the one that was meant", []string{"/only a.example"}, []string{"answers GET https://a.example/only;"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			pb, err := NewPlayback(&tape.Tape{Dir: t.TempDir(), Calls: calls}, PlaybackOptions{Reuse: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { pb.Close() })
			var cfg Config
			pb.Configure(&cfg)
			b := w.serveWith(cfg, explicit(""))
			for i, h := range c.heads {
				target, host, _ := strings.Cut(h, " ")
				if got := rawGet(t, b.addr, target, host); !strings.Contains(got, c.want[i]) {
					t.Errorf("%s was answered %q, want %q", h, got, c.want[i])
				}
			}
		})
	}
}

// rawGet sends a target as it is, and returns the whole answer.
func rawGet(t *testing.T, addr, target, host string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, host)
	all, err := io.ReadAll(bufio.NewReader(c))
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func TestOtherProtocolsAreOfferedInHTTP2WhereTheyWereAskedFor(t *testing.T) {
	socket := plainCall(2, "https://ws.example/", "OK")
	socket.Request.Proto, socket.Request.Method, socket.Request.Protocol, socket.TwoWay = "HTTP/2.0", "CONNECT", "websocket", true
	pb, err := NewPlayback(&tape.Tape{Dir: t.TempDir(), Calls: []*tape.Exchange{plainCall(1, "https://api.example/", "OK"), socket}}, PlaybackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pb.Close() })
	for _, c := range []struct {
		name string
		s    Stream
		want bool
	}{
		{"where it was", Stream{Scheme: "https", Authority: "WS.example:443"}, true},
		{"where it was not", Stream{Scheme: "https", Authority: "api.example:443"}, false},
		{"where nothing was recorded", Stream{Scheme: "https", Authority: "new.example:443"}, false},
		{"where any host may be meant", Stream{Scheme: "http", Reverse: true}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			here, there := net.Pipe()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				http2.Serve(t.Context(), there, pb.stream(c.s))
			}()
			here.SetDeadline(time.Now().Add(patience))
			offered := false
			f, err := h2.NewFramer(io.Discard, here).ReadFrame()
			if settings, ok := f.(*h2.SettingsFrame); ok {
				v, _ := settings.Value(h2.SettingEnableConnectProtocol)
				offered = v == 1
			}
			if err != nil || offered != c.want {
				t.Errorf("%v, offered %v", err, offered)
			}
			here.Close()
			<-ended
		})
	}
}

func TestAnAnswerThatWasEditedByHandIsPlayedWhole(t *testing.T) {
	w := newWorld(t)
	w.https("api.example.com:443", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
	}), "http/1.1")
	rec := w.recordWith(nil, transparent)
	ask(t, rec.client("http/1.1"), "GET", "https://api.example.com/", "")
	tp := rec.tape()
	file := tp.Calls[0].File
	data, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(data), "hello") {
		t.Fatalf("%v: %s", err, data)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), "hello", "hello, edited world", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if tp, err = tape.Open(tp.Dir); err != nil {
		t.Fatal(err)
	}
	pb, err := NewPlayback(tp, PlaybackOptions{Reuse: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pb.Close() })
	var cfg Config
	pb.Configure(&cfg)
	client := w.serveWith(cfg, transparent).client("http/1.1")
	for range 2 { // on one connection
		if a := ask(t, client, "GET", "https://api.example.com/", ""); a.body != "hello, edited world" || a.header.Get("Content-Length") != "19" {
			t.Errorf("%v", a)
		}
	}
}
