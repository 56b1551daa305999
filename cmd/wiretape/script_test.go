package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	mitmtls "github.com/wiretape/wiretape/tls"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"wiretape":        main,
		"docker-wiretape": main,
		"origin":          origin,
		"fetch":           fetch,
		"interruptable":   interruptable,
	})
}

// TestScripts runs the command lines of testdata/script. Those that need the docker
// command say so with [docker]; none of them needs an engine.
func TestScripts(t *testing.T) {
	// One root for all scripts but those about roots: its key takes a moment to make.
	caroot := t.TempDir()
	if _, err := mitmtls.LoadOrCreateRoot(caroot); err != nil {
		t.Fatal(err)
	}
	world := new(world)
	t.Cleanup(world.remove)
	found := map[string]func() bool{
		"docker": sync.OnceValue(func() bool { return exec.Command("docker", "compose", "version").Run() == nil }),
		"engine": sync.OnceValue(func() bool { return exec.Command("docker", "info").Run() == nil }),
	}
	plugins := os.Getenv("DOCKER_CONFIG")
	if home, err := os.UserHomeDir(); plugins == "" && err == nil {
		plugins = filepath.Join(home, ".docker")
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("CAROOT", caroot)
			env.Setenv("BIN", filepath.SplitList(env.Getenv("PATH"))[0]) // wiretape and these programs
			env.Setenv("DOCKER_CONFIG", plugins)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command takes a second longer under -race
			// No engine is asked for anything, but by a script that takes this one.
			env.Setenv("ENGINE", os.Getenv("DOCKER_HOST"))
			env.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
			env.Values[background{}] = make(map[string]*started)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serveCmd, "await": awaitCmd, "interrupt": interruptCmd, "hold": holdCmd, "code": codeCmd,
			"project": world.projectCmd,
		},
		Condition: func(cond string) (bool, error) {
			if found[cond] == nil {
				return false, fmt.Errorf("there is no condition %q", cond)
			}
			if testing.Short() {
				return false, nil // as package needs has it
			}
			if !found[cond]() && os.Getenv("WIRETAPE_REQUIRE_ENGINE") == "1" {
				return false, fmt.Errorf("the %s is missing, and WIRETAPE_REQUIRE_ENGINE is set", cond)
			}
			return found[cond](), nil
		},
	})
}

// codeCmd is "code N COMMAND ARG…": it runs a command, and wants that exit code.
func codeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// background is the key of a script's servers.
type background struct{}

// A started is a server that a script started.
type started struct {
	cmd  *exec.Cmd
	err  bytes.Buffer
	read chan struct{} // closed when all output was read

	mu      sync.Mutex
	out     bytes.Buffer
	changed chan struct{} // closed when out is longer
}

// said adds a line of output.
func (s *started) said(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.WriteString(line)
	close(s.changed)
	s.changed = make(chan struct{})
}

// output is what was said so far, and a channel that is closed when there is more.
func (s *started) output() ([]byte, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.out.Bytes()), s.changed
}

// serveCmd is "serve NAME COMMAND ARG…": it runs a command until it says where it
// serves, and sets $NAME to that address.
func serveCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: serve NAME COMMAND [ARG...]")
	}
	s := &started{cmd: exec.Command(filepath.Join(ts.Getenv("BIN"), args[1]), args[2:]...), read: make(chan struct{}), changed: make(chan struct{})}
	s.cmd.Dir, s.cmd.Stderr = ts.MkAbs("."), &s.err
	for _, name := range []string{"PATH", "HOME", "CAROOT", "TMPDIR", "GORACE"} {
		s.cmd.Env = append(s.cmd.Env, name+"="+ts.Getenv(name))
	}
	stdout, err := s.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	ts.Defer(func() { s.cmd.Process.Kill(); <-s.read; s.cmd.Wait() })
	addr := make(chan string, 1)
	go func() {
		defer close(s.read)
		defer close(addr)
		for r := bufio.NewReader(stdout); ; {
			line, err := r.ReadString('\n')
			s.said(line)
			if _, after, ok := strings.Cut(line, "serving on "); ok {
				addr <- after[:strings.IndexAny(after+"\n", ";\n\"")]
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case a, ok := <-addr:
		if !ok {
			ts.Fatalf("%s ended before it served:\n%s%s", args[1], s.out.Bytes(), s.err.Bytes())
		}
		ts.Setenv(args[0], a)
	case <-time.After(time.Minute):
		ts.Fatalf("%s does not say where it serves", args[1])
	}
	ts.Value(background{}).(map[string]*started)[args[0]] = s
}

// awaitCmd is "await NAME PATTERN": it waits until a server has said something that
// matches.
func awaitCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await NAME PATTERN")
	}
	s := ts.Value(background{}).(map[string]*started)[args[0]]
	if s == nil {
		ts.Fatalf("nothing serves as %s", args[0])
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	limit := time.After(time.Minute)
	for {
		out, more := s.output()
		if pattern.Match(out) {
			return
		}
		select {
		case <-more:
		case <-s.read:
			ts.Fatalf("%s ended without saying %q:\n%s", args[0], args[1], out)
		case <-limit:
			ts.Fatalf("%s does not say %q:\n%s", args[0], args[1], out)
		}
	}
}

// interruptCmd is "interrupt NAME CODE": it interrupts a server as Ctrl-C does, wants that exit
// code, and leaves its output in NAME.out and NAME.err.
func interruptCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: interrupt NAME CODE")
	}
	s := ts.Value(background{}).(map[string]*started)[args[0]]
	if s == nil {
		ts.Fatalf("nothing serves as %s", args[0])
	}
	ts.Check(s.cmd.Process.Signal(os.Interrupt))
	<-s.read
	s.cmd.Wait()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), s.out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".err"), s.err.Bytes(), 0o600))
	if code := s.cmd.ProcessState.ExitCode(); fmt.Sprint(code) != args[1] {
		ts.Fatalf("%s ended with %d, want %s\n%s%s", args[0], code, args[1], s.out.Bytes(), s.err.Bytes())
	}
}

// holdCmd is "hold NAME": it listens on a port, so that it is taken, and sets $NAME to
// the address.
func holdCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// origin is a program that serves a small streaming server until interrupted: over
// TLS with -tls, with a certificate that it writes to that file.
func origin() {
	certFile := flag.String("tls", "", "")
	flag.Parse()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/broken" {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nsk-secret\r\n\r\n")
				conn.Close()
			}
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: %s %s\n\n", r.Method, r.URL)
		w.(http.Flusher).Flush()
		fmt.Fprintf(w, "data: %s\n\n", body)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if *certFile != "" {
		s.StartTLS()
		if err := os.WriteFile(*certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
			log.Fatal(err)
		}
	} else {
		s.Start()
	}
	fmt.Printf("serving on %s\n", s.Listener.Addr())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
}

// fetch is a program that makes one request and prints the status and the body.
func fetch() {
	via := flag.String("proxy", "", "")
	ca := flag.String("ca", "", "")
	data := flag.String("data", "", "")
	flag.Parse()
	tr := &http.Transport{TLSClientConfig: &tls.Config{}}
	if *via != "" {
		tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: *via})
	}
	if *ca != "" {
		roots, err := os.ReadFile(*ca)
		if err != nil {
			log.Fatal(err)
		}
		tr.TLSClientConfig.RootCAs = x509.NewCertPool()
		tr.TLSClientConfig.RootCAs.AppendCertsFromPEM(roots)
	}
	method, body := "GET", io.Reader(nil)
	if *data != "" {
		method, body = "POST", strings.NewReader(*data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, flag.Arg(0), body)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		log.Fatal(err)
	}
}
