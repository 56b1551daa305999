package compose

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/compose/agent"
)

// newAPI serves handler as an engine, and the proxy before it.
func newAPI(t *testing.T, handler http.HandlerFunc) (*apiProxy, *http.Client) {
	engine := httptest.NewServer(handler)
	t.Cleanup(engine.Close)
	dial := func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", engine.Listener.Addr().String())
	}
	dir, err := os.MkdirTemp("", "wt") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p, err := startAPIProxy(dir, dial, "shop", []Container{{ID: "old"}}, func(string) (string, map[string]string) { return "", nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialLocal(ctx, p.socket) }}
	t.Cleanup(transport.CloseIdleConnections)
	return p, &http.Client{Transport: transport}
}

func dialLocal(ctx context.Context, path string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", path)
}

func get(t *testing.T, c *http.Client, path string) string {
	t.Helper()
	resp, err := c.Get("http://docker" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestTheEnginesAPIInASession(t *testing.T) {
	labels := func(number int) string {
		return fmt.Sprintf(`{%q:"shop",%q:"web",%q:"%d"}`, composeProject, composeService, composeNumber, number)
	}
	p, c := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1.41/containers/json":
			fmt.Fprintf(w, `[{"Id":"old","Labels":%s},{"Id":"a","Labels":%s,"Ports":[],"New":1.0},{"Id":"b","Labels":%s},{"Id":"c","Labels":{}}]`, labels(1), labels(1), labels(2))
		case "/containers/a/json":
			fmt.Fprintf(w, `{"Id":"a","Config":{"Labels":%s},"NetworkSettings":{"Ports":{"8080/tcp":null}}}`, labels(1))
		default:
			io.WriteString(w, `[{"Id":"old"}]`)
		}
	})
	p.publish([]agent.Ingress{
		{Service: "web", Port: 8080, Published: "localhost:1001"}, {Service: "web", Port: 8080, Published: "127.0.0.1:1002"},
		{Service: "db", Port: 8080, Published: "localhost:1003"},
	})
	list := get(t, c, "/v1.41/containers/json?all=1")
	for _, want := range []string{
		`"Id":"a"`, `"New":1.0`, `"Ports":[{"IP":"0.0.0.0","PrivatePort":8080,"PublicPort":1001,"Type":"tcp"}]`,
		`"Id":"b"`, `"Ports":[{"IP":"127.0.0.1","PrivatePort":8080,"PublicPort":1002,"Type":"tcp"}]`, `"Id":"c"`,
	} {
		if !strings.Contains(list, want) {
			t.Errorf("%s is not in the list: %s", want, list)
		}
	}
	if strings.Contains(list, `"old"`) || strings.Contains(list, "1003") {
		t.Errorf("the list has what it must not have: %s", list)
	}
	if got := get(t, c, "/containers/a/json"); !strings.Contains(got, `"8080/tcp":[{"HostIp":"0.0.0.0","HostPort":"1001"}]`) {
		t.Errorf("the container is described as %s", got)
	}
	if got := get(t, c, "/images/json"); got != `[{"Id":"old"}]` {
		t.Errorf("another answer became %s", got)
	}
}

// docker exec and attach take the connection over, and end one direction first.
func TestTheEnginesAPIPassesStreamsOn(t *testing.T) {
	p, _ := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello ")
		in, err := io.ReadAll(buffered)
		fmt.Fprintf(conn, "%s %v", in, err)
	})
	conn, err := dialLocal(t.Context(), p.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /exec/x/start HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", resp, err)
	}
	io.WriteString(conn, "standard input")
	conn.(*net.UnixConn).CloseWrite()
	if got, err := io.ReadAll(r); err != nil || string(got) != "hello standard input <nil>" {
		t.Errorf("got %q, %v", got, err)
	}
}
