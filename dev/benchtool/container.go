//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
)

// What this program is in a container.
const (
	roleIdle  = "idle"
	roleFetch = "fetch"
	roleFront = "front"
)

// runIdle waits until it is stopped.
func runIdle() error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	<-c
	return nil
}

// runFetch asks for a URL's head on one new connection after the other, and writes
// how long each took from the connect as JSON on a line.
func runFetch(args []string, out io.Writer) error {
	flags := flag.NewFlagSet(roleFetch, flag.ContinueOnError)
	addr := flags.String("addr", "", "`host:port` of the server")
	n := flags.Int("n", 1, "how often")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// The name is looked up once: what is measured is the connection.
	host, port, err := net.SplitHostPort(*addr)
	if err != nil {
		return err
	}
	ips, err := net.LookupHost(host)
	if err != nil {
		return err
	}
	var took sample
	for range *n {
		d, err := fetchHead(net.JoinHostPort(ips[0], port), *addr)
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	return json.NewEncoder(out).Encode(took)
}

func fetchHead(addr, host string) (time.Duration, error) {
	began := time.Now()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /head HTTP/1.1\r\nHost: %s\r\n\r\n", host)
	in := bufio.NewReader(conn)
	if _, err := in.Peek(1); err != nil {
		return 0, err
	}
	took := time.Since(began)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return took, errors.Join(err, resp.Body.Close())
}

// runFront answers each request with what its origin answers to the same.
func runFront(args []string) error {
	flags := flag.NewFlagSet(roleFront, flag.ContinueOnError)
	var s serverFlags
	s.add(flags)
	upstream := flags.String("upstream", "", "`URL` of the origin")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get(*upstream + r.URL.Path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}))
}

// engine says which engine answers, and how busy the machine is before: then it
// can't be told, since the engine and the containers are no children of this process.
func (b *bench) engine(ctx context.Context, f *results.Figure) error {
	var err error
	f.Machine.Engine, err = b.command(ctx, "", "docker", "version", "--format", "Docker {{.Server.Version}}")
	if err != nil {
		return fmt.Errorf("no Docker engine answers: run dev/engine: %w", err)
	}
	return b.lookBefore(ctx, f)
}

// measureSession compares a recorded session with bare up and down.
func measureSession(ctx context.Context, b *bench, f *results.Figure) error {
	if err := b.engine(ctx, f); err != nil {
		return err
	}
	p, err := b.newProject(ctx, nil, "", roleIdle)
	if err != nil {
		return err
	}
	defer p.remove()
	f.Method = fmt.Sprintf("A project of one service that starts and stops at once, on one internal network, the agent's image in the engine already. Wall-clock, in turns, %d rounds.", b.sessions)
	t := plotted(f, "from nothing to nothing", results.Nanoseconds)
	bare, ours := series(t, "docker compose up -d, down", results.Limit), series(t, "wiretape compose record -- true", results.Ours)
	timed := func(run func() error) (float64, error) {
		began := time.Now()
		err := run()
		return float64(time.Since(began)), err
	}
	recorded := func() error {
		_, err := p.wiretape(ctx, "record", "--tape", filepath.Join(p.dir, "tape"), "--", "true")
		return errors.Join(err, os.RemoveAll(filepath.Join(p.dir, "tape")))
	}
	if err := recorded(); err != nil { // loads the agent's image, once for each build
		return err
	}
	for range b.sessions {
		took, err := timed(func() error {
			_, up := p.compose(ctx, "up", "-d")
			_, down := p.compose(ctx, "down", "-t", "10")
			return errors.Join(up, down)
		})
		if err != nil {
			return err
		}
		bare.Add(took)
		if took, err = timed(recorded); err != nil {
			return err
		}
		ours.Add(took)
	}
	f.Goals = append(f.Goals, atMost("added to up and down", ours.Median(results.P50)-bare.Median(results.P50), 700*time.Millisecond))
	return nil
}

// measureContainer compares the time to the first byte in a container of a recorded
// session with that in a bare one, which runs beside it.
func measureContainer(ctx context.Context, b *bench, f *results.Figure) error {
	if err := b.engine(ctx, f); err != nil {
		return err
	}
	p, err := b.newProject(ctx, []string{roleOrigin, "-listen", ":8080"}, "", roleIdle)
	if err != nil {
		return err
	}
	defer p.remove()
	f.Method = fmt.Sprintf("In a container, %d times one after the other: connect, a small GET, first byte of the answer; the origin is a container on another network. "+
		"A container of a recorded session and one that was started bare beside it take turns, %d rounds.", b.fetches, b.rounds)
	bare, err := b.command(ctx, "", "docker", "run", "--detach", "--network", p.name+"-outside", p.name, roleIdle)
	if err != nil {
		return err
	}
	defer b.command(context.Background(), "", "docker", "rm", "-f", bare)
	fetch := fmt.Sprintf("/app %s -addr origin.bench:8080 -n %d", roleFetch, b.fetches)
	script := fmt.Sprintf("for i in $(seq %d); do docker exec %s %s >>direct; docker compose exec -T app %s >>recorded; done", b.rounds, bare, fetch, fetch)
	if _, err := p.wiretape(ctx, "record", "--tape", "tape", "--", "sh", "-ec", script); err != nil {
		return err
	}
	t := plotted(f, "connect to first byte", results.Nanoseconds)
	direct, ours := series(t, "direct", results.Limit), series(t, "wiretape compose record", results.Ours)
	for s, name := range map[*results.Series]string{direct: "direct", ours: "recorded"} {
		if err := addLines(s, filepath.Join(p.dir, name)); err != nil {
			return err
		}
	}
	f.Goals = append(f.Goals, atMost("added to the first byte, p50", ours.At(0.5)-direct.At(0.5), 300*time.Microsecond))
	return nil
}

// addLines adds a round for each line of a file that runFetch wrote.
func addLines(s *results.Series, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for d := json.NewDecoder(file); ; {
		var took sample
		if err := d.Decode(&took); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		s.Add(took.ns()...)
	}
}

// measureTest tests many short cases, and one, whose difference is what cases take.
func measureTest(ctx context.Context, b *bench, f *results.Figure) error {
	if err := b.engine(ctx, f); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	p, err := b.newProject(ctx, []string{roleSmall, "-listen", ":8080"}, port, roleFront, "-listen", ":8080", "-upstream", "http://origin.bench:8080")
	if err != nil {
		return err
	}
	defer p.remove()
	f.Method = fmt.Sprintf("%d cases, each a GET that makes the app ask once outside and answer with 175 bytes of JSON; wiretape compose test --speed 0 from its start to its end, and the same with one case: %d rounds, in turns.", b.cases, b.rateRounds)
	whole := table(f, "wiretape compose test --speed 0", results.Nanoseconds)
	many, one := series(whole, fmt.Sprintf("%d cases", b.cases), results.Ours), series(whole, "1 case", results.Ours)
	for s, cases := range map[*results.Series]int{many: b.cases, one: 1} {
		if err := p.recordCases(ctx, port, s.Label, cases); err != nil {
			return err
		}
	}
	cases := series(table(f, "the cases alone", results.Nanoseconds), fmt.Sprintf("%d cases", b.cases), results.Ours)
	for range b.rateRounds {
		var took [2]time.Duration
		for i, s := range []*results.Series{many, one} {
			began := time.Now()
			if _, err := p.wiretape(ctx, "test", "--speed", "0", "--tape", s.Label); err != nil {
				return err
			}
			took[i] = time.Since(began)
			s.Add(float64(took[i]))
		}
		cases.Add(float64(took[0] - took[1]))
	}
	f.Goals = append(f.Goals, atMost(fmt.Sprintf("%d cases", b.cases), cases.Median(results.P50), 5*time.Second))
	return nil
}

// recordCases records a tape of so many cases.
func (p *project) recordCases(ctx context.Context, port, tape string, cases int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	l, err := json.Marshal(load{Addr: "127.0.0.1:" + port, Conns: 4, Prefix: smallPath, Distinct: cases, Count: cases, For: recordPatience})
	if err != nil {
		return err
	}
	path := filepath.Join(p.dir, "load.json")
	if err := os.WriteFile(path, l, 0o600); err != nil {
		return err
	}
	_, err = p.wiretape(ctx, "record", "--tape", tape, "--", "sh", "-ec", fmt.Sprintf("%q %s <%q >/dev/null", self, roleLoad, path))
	return err
}
