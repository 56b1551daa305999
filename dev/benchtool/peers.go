//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The peers, by the names that dev/peers/install knows.
const (
	nginx     = "nginx"
	mitmproxy = "mitmproxy"
	hoverfly  = "hoverfly"
	wiremock  = "wiremock"
	aimock    = "aimock"
)

// A peer is a program that wiretape is compared with.
type peer struct {
	name, version, program string
}

func (p *peer) String() string { return p.name + " " + p.version }

// errWithout is for peers that shall not be used.
var errWithout = errors.New("left out (-peers=false)")

// peer installs a peer, once.
func (b *bench) peer(ctx context.Context, name string) (*peer, error) {
	if !b.peers {
		return nil, errWithout
	}
	b.used[name] = true
	if p, ok := b.installed[name]; ok {
		return p.peer, p.err
	}
	p, err := installPeer(ctx, name)
	b.installed[name] = installedPeer{p, err}
	return p, err
}

type installedPeer struct {
	peer *peer
	err  error
}

func installPeer(ctx context.Context, name string) (*peer, error) {
	ctx, cancel := context.WithTimeout(ctx, installPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dev/peers/install", name)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("can't be installed: %w: %s", err, lastLine(stderr.String()))
	}
	version, program, ok := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if !ok {
		return nil, fmt.Errorf("can't be installed: dev/peers/install %s printed %q", name, out)
	}
	return &peer{name, version, program}, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// freePort is a port of loopback that nobody listens on now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// scratch makes a folder of a peer's own.
func (b *bench) scratch(name string) (string, error) {
	b.folders++
	dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, b.folders))
	return dir, os.Mkdir(dir, 0o755)
}

const nginxConf = `
daemon off;
pid nginx.pid;
error_log stderr crit;
worker_processes auto;
worker_rlimit_nofile 20000;
%[1]s
events { worker_connections 8192; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	upstream origin { server %[2]s; keepalive 512; keepalive_requests 1000000000; }
	server {
		listen 127.0.0.1:%[3]s%[4]s
		location / {
			proxy_pass %[5]s://origin;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_max_temp_file_size 0;
			%[6]s
		}
	}
}
`

// startNginx starts nginx as a reverse proxy: of bodies that are written on as they
// come, if it streams, and with TLS on both sides, if there is a certificate.
func (b *bench) startNginx(ctx context.Context, origin string, streams bool, cert tlsFiles) (*child, error) {
	p, err := b.peer(ctx, nginx)
	if err != nil {
		return nil, err
	}
	dir, err := b.scratch(nginx)
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	user, server, scheme, location := "", ";", "http", ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	if streams {
		location = "proxy_buffering off;"
	}
	if cert.cert != "" {
		scheme = "https"
		server = fmt.Sprintf(" ssl;\n\t\tssl_certificate %s; ssl_certificate_key %s;", cert.cert, cert.key)
		location += fmt.Sprintf(" proxy_ssl_verify on; proxy_ssl_trusted_certificate %s; proxy_ssl_name bench;", cert.cert)
	}
	conf := fmt.Sprintf(nginxConf, user, origin, port, server, scheme, location)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600); err != nil {
		return nil, err
	}
	return b.startAt(ctx, "127.0.0.1:"+port, dir, p.program, "-p", dir, "-c", "nginx.conf", "-e", "stderr")
}

// startMitmproxy starts it as a reverse proxy that writes what passes to a file.
func (b *bench) startMitmproxy(ctx context.Context, origin string) (*child, error) {
	p, err := b.peer(ctx, mitmproxy)
	if err != nil {
		return nil, err
	}
	dir, port, err := b.place(mitmproxy)
	if err != nil {
		return nil, err
	}
	return b.startAt(ctx, "127.0.0.1:"+port, dir, p.program, "-q", "--mode", "reverse:http://"+origin,
		"--listen-host", "127.0.0.1", "--listen-port", port, "-w", filepath.Join(dir, flowFile), "--set", "confdir="+dir)
}

// flowFile is what mitmproxy records to, in its folder.
const flowFile = "flows"

// startHoverfly starts it as a forward proxy, or with -webserver as the server itself.
func (b *bench) startHoverfly(ctx context.Context, args ...string) (*child, error) {
	p, err := b.peer(ctx, hoverfly)
	if err != nil {
		return nil, err
	}
	dir, port, err := b.place(hoverfly)
	if err != nil {
		return nil, err
	}
	admin, err := freePort()
	if err != nil {
		return nil, err
	}
	args = append([]string{"-listen-on-host", "127.0.0.1", "-pp", port, "-ap", admin, "-log-level", "error"}, args...)
	return b.startAt(ctx, "127.0.0.1:"+port, dir, p.program, args...)
}

// startWireMock starts it in a folder, which may hold mappings.
func (b *bench) startWireMock(ctx context.Context, dir string, args ...string) (*child, error) {
	p, err := b.peer(ctx, wiremock)
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args = append([]string{"-jar", p.program, "--port", port, "--bind-address", "127.0.0.1", "--disable-banner",
		"--root-dir", dir}, args...)
	return b.startAt(ctx, "127.0.0.1:"+port, dir, "java", args...)
}

// place is a folder and a port for a peer.
func (b *bench) place(name string) (dir, port string, err error) {
	if dir, err = b.scratch(name); err != nil {
		return "", "", err
	}
	port, err = freePort()
	return dir, port, err
}

// startAt starts a server that listens where it was told, and waits until it does.
func (b *bench) startAt(ctx context.Context, addr, dir, name string, args ...string) (*child, error) {
	c := &child{b: b, cmd: exec.Command(name, args...), read: make(chan struct{}), addr: addr, dir: dir, peer: true}
	c.cmd.Dir = dir
	if err := c.run(make(chan string, 1)); err != nil {
		return nil, err
	}
	deadline := time.After(peerPatience)
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return c, nil
		}
		select {
		case <-c.read:
		case <-ctx.Done():
		case <-deadline:
		case <-time.After(20 * time.Millisecond):
			continue
		}
		return nil, errors.Join(fmt.Errorf("%s doesn't serve: %s", filepath.Base(name), c.said.String()), c.stop(), ctx.Err())
	}
}

const (
	installPatience = 10 * time.Minute
	peerPatience    = 30 * time.Second
)

// versions says which peers this figure used.
func (b *bench) versions() string {
	var all []string
	for name := range b.used {
		if p := b.installed[name]; p.err == nil {
			all = append(all, p.peer.String())
		} else {
			all = append(all, fmt.Sprintf("%s: %s", name, firstLine(p.err)))
		}
	}
	slices.Sort(all)
	return strings.Join(append(all, runtime.Version()), ", ")
}

// whyNot asks a server for a path, and says what it answers in the place of 200.
func whyNot(ctx context.Context, addr, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return fmt.Sprintf("answers GET %s with %s", path, resp.Status), nil
}
