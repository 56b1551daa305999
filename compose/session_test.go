package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const webYAML = `
services:
  web:
    image: IMAGE
    command: [web]
    networks: [default, outside]
    ports: ["127.0.0.1::8080"]
    depends_on: [db]
  db:
    image: IMAGE
    command: [sleep]
    volumes: [data:/data]
networks:
  default:
    internal: true
  outside:
    external: true
    name: OUTSIDE
volumes:
  data:
`

const streamed = "web says: chunk 0 of /a\nchunk 1 of /a\nchunk 2 of /a\n"

func TestRecordThenReplayWithTheOutsideGone(t *testing.T) {
	p := newTestProject(t, webYAML)
	before := p.inventory()
	var id string
	result, err := Run(t.Context(), p.options(), func(ctx context.Context, s *Session) error {
		id = s.ID()
		p.wantMounted(id, filepath.Join(p.dir, "tapes", "default.new")+" /tape true")
		got, err := fetch(ctx, s, "http://api.example.com/a")
		if err == nil && got != streamed {
			t.Errorf("the app got %q", got)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wantAsBefore(before, id)
	if !result.Complete || result.Kept {
		t.Errorf("the recording is not good: %+v", result)
	}
	tp, err := tape.Open(result.Tape)
	if err != nil {
		t.Fatal(err)
	}
	if len(tp.Calls) != 1 || len(tp.Cases) != 1 || tp.Calls[0].Service != "web" {
		t.Fatalf("the tape has %d calls and %d cases", len(tp.Calls), len(tp.Cases))
	}
	if got := tp.Calls[0].Request.URL; got != "http://api.example.com/a" {
		t.Errorf("the call's URL is %s", got)
	}

	timeout := 0
	if err := p.engine.ContainerStop(t.Context(), p.outside, container.StopOptions{Timeout: &timeout}); err != nil {
		t.Fatal(err)
	}
	opt := p.options()
	opt.Mode = "replay"
	_, err = Run(t.Context(), opt, func(ctx context.Context, s *Session) error {
		id = s.ID()
		p.wantMounted(id, result.Tape+" /tape false")
		if got, err := fetch(ctx, s, "http://api.example.com/a"); err != nil || got != streamed {
			t.Errorf("replayed: %q, %v", got, err)
		}
		if got, err := fetch(ctx, s, "http://api.example.com/other"); err == nil {
			t.Errorf("an unknown call was answered: %q", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wantAsBefore(before, id)
}

// wantMounted checks that the agent of a session has a folder of this host.
func (p *testProject) wantMounted(id, want string) {
	p.t.Helper()
	mounts := p.docker("inspect", "--format", "{{range .Mounts}}{{.Type}} {{.Source}} {{.Destination}} {{.RW}}\n{{end}}", "wiretape-"+id+"-agent")
	if !strings.Contains(mounts, "bind "+want) {
		p.t.Errorf("the agent has the mounts %q, want %s", mounts, want)
	}
}

func TestTheFirstCallOfTheFirstProcessIsCaught(t *testing.T) {
	p := newTestProject(t, strings.Replace(webYAML, "command: [web]", "command: [web]\n    environment: {CALL_FIRST: 'http://api.example.com/first'}", 1))
	result, err := Run(t.Context(), p.options(), func(context.Context, *Session) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(result.Tape)
	if err != nil {
		t.Fatal(err)
	}
	if len(tp.Calls) != 1 {
		t.Errorf("the tape has %d calls", len(tp.Calls))
	}
}

// A session can be interrupted at each of its steps.
func TestInterruptedAnywhereItLeavesNothing(t *testing.T) {
	for _, step := range []string{
		"create volume", "create network", "docker compose create", "connect the agent", "start container",
		"docker compose up", "waiting for the services", "record",
	} {
		t.Run(step, func(t *testing.T) {
			p := newTestProject(t, webYAML)
			before := p.inventory()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			opt := p.options()
			log := opt.Progress
			opt.Progress = func(m Progress) {
				log(m)
				if strings.HasPrefix(m.Text, step) {
					time.AfterFunc(50*time.Millisecond, cancel)
				}
			}
			var id string
			_, err := Run(ctx, opt, func(ctx context.Context, s *Session) error {
				id = s.ID()
				<-ctx.Done()
				return nil
			})
			var e *event.Problem
			if id == "" && (!errors.As(err, &e) || e.Kind != event.Interrupted) || id != "" && err != nil {
				t.Errorf("the error is %v", err)
			}
			p.wantAsBefore(before, id)
			if entries, _ := filepath.Glob(filepath.Join(p.dir, "tapes", "*")); id == "" && len(entries) > 0 {
				t.Errorf("a tape is left of a session that did not run: %v", entries)
			}
		})
	}
}

func TestTheAgentIsKilled(t *testing.T) {
	p := newTestProject(t, webYAML)
	before := p.inventory()
	var id string
	result, err := Run(t.Context(), p.options(), func(ctx context.Context, s *Session) error {
		id = s.ID()
		p.docker("kill", "wiretape-"+s.ID()+"-agent")
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
			t.Error("the session does not notice")
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "the agent ended unexpectedly") {
		t.Errorf("the error is %v", err)
	}
	if result == nil || result.Complete || len(result.Problems) == 0 {
		t.Errorf("the recording is said to be complete: %+v", result)
	}
	p.wantAsBefore(before, id)
}

// emptyTape makes a tape without calls.
func (p *testProject) emptyTape() string {
	p.t.Helper()
	dir := filepath.Join(p.t.TempDir(), "empty")
	w, err := tape.Create(dir, tape.Manifest{Project: p.name, Created: time.Now()})
	if err == nil {
		err = w.Close(nil)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return dir
}

const helperEnv = "WIRETAPE_TEST_HELPER"

// helperMain is a CLI that will be killed: it runs a session until then.
func helperMain() int {
	if os.Getenv(helperEnv) == "command" {
		command, err := FindCommand(os.Args[1:])
		if err == nil {
			err = command.Run(context.Background(), sessionEnv())
		}
		fmt.Fprintln(os.Stderr, "the helper's command ended:", err)
		return 1
	}
	return runHelper(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5])
}

// startSession runs a session in another process, until that is killed.
func (p *testProject) startSession(mode string) (cli *exec.Cmd, session string) {
	p.t.Helper()
	cmd := exec.Command(os.Args[0], p.name, filepath.Join(p.dir, "compose.yaml"), filepath.Join(testDir(), "agent"), filepath.Join(testDir(), "ca"), p.emptyTape())
	cmd.Env = append(os.Environ(), helperEnv+"="+mode)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	id := make([]byte, 8)
	if _, err = out.Read(id); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		p.t.Fatal(err)
	}
	return cmd, string(id)
}

// killedSession runs a session in another process and kills that with -9.
func (p *testProject) killedSession(mode string) (session string) {
	p.t.Helper()
	cmd, id := p.startSession(mode)
	cmd.Process.Kill()
	cmd.Wait()
	return id
}

func TestTheCLIIsKilledAndDownCleansUp(t *testing.T) {
	needEngine(t) // its folder is all tests'
	t.Setenv("TMPDIR", t.TempDir())
	p := newTestProject(t, webYAML)
	before := p.inventory()
	id := p.killedSession("record")
	p.write("compose.yaml", "services: {other: {image: IMAGE}}") // the file may have changed
	n, err := Down(t.Context(), p.options())
	if err != nil || n != 1 {
		t.Errorf("down: %d sessions, %v", n, err)
	}
	p.wantAsBefore(before, id)
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), session.TempPrefix+"*")); len(left) > 0 {
		t.Errorf("folders are left: %v", left)
	}
}

func TestTheCLIIsKilledAndTheNextSessionCleansUp(t *testing.T) {
	p := newTestProject(t, webYAML)
	before := p.inventory()
	first := p.killedSession("replay")
	var id string
	_, err := Run(t.Context(), p.options(), func(ctx context.Context, s *Session) error {
		id = s.ID()
		_, err := fetch(ctx, s, "http://api.example.com/a")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wantAsBefore(before, first)
	p.wantAsBefore(before, id)
}

func TestOnlyOneSessionAtATime(t *testing.T) {
	p := newTestProject(t, webYAML)
	before := p.inventory()
	_, err := Run(t.Context(), p.options(), func(ctx context.Context, s *Session) error {
		opt := p.options()
		opt.Tape = filepath.Join(p.dir, "tapes", "second")
		_, err := Run(ctx, opt, func(context.Context, *Session) error {
			t.Error("a second session runs")
			return nil
		})
		var e *event.Problem
		if !errors.As(err, &e) || e.Kind != event.Usage || !strings.Contains(err.Error(), "already running") {
			t.Errorf("the error is %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wantAsBefore(before, "")
}

const runningYAML = `
services:
  web:
    image: IMAGE
    command: [web]
    networks: [default, outside]
    ports: ["127.0.0.1::8080"]
    depends_on:
      job: {condition: service_completed_successfully}
  db:
    image: IMAGE
    command: [write, /anonymous/file, kept]
    volumes: [/anonymous, "data:/data"]
  job:
    image: IMAGE
    command: [say, "0", done]
  idle:
    image: IMAGE
    command: [sleep]
  fresh:
    image: IMAGE
    command: [sleep]
networks:
  default:
    internal: true
  closed:
    internal: true
  outside:
    external: true
    name: OUTSIDE
volumes:
  data:
`

// startRunning brings a project up without us: two of web, an ended job, a
// service that was stopped and one that was never made.
func startRunning(t *testing.T) (p *testProject, before []string) {
	p = newTestProject(t, runningYAML)
	p.compose("up", "-d", "--scale", "web=2", "web", "db", "job", "idle")
	p.compose("stop", "idle")
	return p, p.inventory()
}

func (p *testProject) wantRestored(before []string, session string) {
	p.t.Helper()
	p.wantAsBefore(before, session)
	if got := p.compose("exec", "db", "/app", "read", "/anonymous/file"); got != "kept" {
		p.t.Errorf("the anonymous volume has %q", got)
	}
}

func TestWhatRanBeforeRunsAgain(t *testing.T) {
	for _, mode := range []string{"record", "replay"} {
		t.Run(mode, func(t *testing.T) {
			p, before := startRunning(t)
			opt := p.options()
			opt.Mode = "record"
			if mode == "replay" {
				opt.Mode, opt.Tape = "replay", p.emptyTape()
			}
			var id string
			_, err := Run(t.Context(), opt, func(ctx context.Context, s *Session) error {
				id = s.ID()
				if n := len(s.Published()); n != 2 {
					t.Errorf("%d ports are published for two containers", n)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			p.wantRestored(before, id)
		})
	}
}

func TestWhatRanBeforeRunsAgainAfterTheCLIWasKilled(t *testing.T) {
	p, before := startRunning(t)
	id := p.killedSession("record")
	p.write("compose.yaml", "services: {other: {image: IMAGE}}")
	if _, err := Down(t.Context(), p.options()); err != nil {
		t.Fatal(err)
	}
	p.write("compose.yaml", runningYAML)
	p.wantRestored(before, id)
}

func TestServicesThatDoNotComeUp(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       []string
	}{
		{"one that ends", `services: {web: {image: IMAGE, command: [say, "3", "no database here"]}}`,
			[]string{"service web ended with exit code 3", "no database here"}},
		{"one whose program is not there", `services: {web: {image: IMAGE, entrypoint: [/nowhere]}}`,
			[]string{"service web can't be started", "/nowhere"}},
		{"one that is unhealthy", `services: {web: {image: IMAGE, command: [sleep],
			healthcheck: {test: [CMD, /app, check, "http://127.0.0.1:1/"], interval: 100ms, retries: 2}}}`,
			[]string{"service web is unhealthy", "connection refused"}},
		{"a dependency that ends", `services: {web: {image: IMAGE, command: [sleep], depends_on: {job: {condition: service_completed_successfully}}},
			job: {image: IMAGE, command: [say, "4", "migration failed"]}}`,
			[]string{"service job ended with exit code 4", "migration failed"}},
		{"one that does not listen", `services: {web: {image: IMAGE, command: [sleep], ports: ["127.0.0.1::80"]}}`,
			[]string{"service web does not listen on port 80 after 3s"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newTestProject(t, test.yaml+"\nnetworks: {default: {internal: true}}\n")
			before := p.inventory()
			opt := p.options()
			opt.ReadyTimeout = 3 * time.Second
			_, err := Run(t.Context(), opt, func(context.Context, *Session) error {
				t.Error("the session runs")
				return nil
			})
			var e *event.Problem
			if !errors.As(err, &e) || e.Kind != event.App {
				t.Fatalf("the error is %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			p.wantAsBefore(before, "")
		})
	}
}

func TestHealthyAndOneShotServicesAreReady(t *testing.T) {
	p := newTestProject(t, `
services:
  web:
    image: IMAGE
    command: [web]
    healthcheck: {test: [CMD, /app, check, "http://127.0.0.1:8080/?url=http%3A%2F%2Fdb%2F"], interval: 100ms, retries: 100}
    depends_on: {job: {condition: service_completed_successfully}}
  db:
    image: IMAGE
    command: [origin]
    expose: ["80"]
  job:
    image: IMAGE
    command: [say, "0", done]
networks: {default: {internal: true}}
`)
	before := p.inventory()
	var id string
	result, err := Run(t.Context(), p.options(), func(ctx context.Context, s *Session) error {
		id = s.ID()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wantAsBefore(before, id)
	if tp, err := tape.Open(result.Tape); err != nil || len(tp.Calls) != 0 {
		t.Errorf("calls inside the project are on the tape: %v, %v", tp, err)
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	p := newTestProject(t, webYAML)
	before := p.inventory()
	_, err := Run(t.Context(), p.options(), func(ctx context.Context, s *Session) error {
		taken := s.Published()[0].Published
		other := newTestProject(t, strings.Replace(webYAML, "127.0.0.1::8080", taken+":8080", 1))
		_, err := Run(ctx, other.options(), func(context.Context, *Session) error { return nil })
		var e *event.Problem
		if !errors.As(err, &e) || e.Kind != event.Environment || !strings.Contains(e.Next, "port") {
			t.Errorf("the error is %v", err)
		}
		other.wantAsBefore(nil, "")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wantAsBefore(before, "")
}

func TestFixedAddressesStayTheServices(t *testing.T) {
	p := newTestProject(t, `
services:
  web:
    image: IMAGE
    command: [sleep]
    networks: {default: {ipv4_address: 10.213.77.2}}
networks: {default: {internal: true, ipam: {config: [{subnet: 10.213.77.0/29}]}}}
`)
	if _, err := Run(t.Context(), p.options(), func(context.Context, *Session) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestACommandThatFailsLeavesTheOlderTape(t *testing.T) {
	p := newTestProject(t, webYAML)
	record := func(path string, fail error) *Result {
		t.Helper()
		result, err := Run(t.Context(), p.options(), func(ctx context.Context, s *Session) error {
			if _, err := fetch(ctx, s, "http://api.example.com"+path); err != nil {
				t.Error(err)
			}
			return fail
		})
		if !errors.Is(err, fail) {
			t.Fatalf("the error is %v", err)
		}
		return result
	}
	record("/first", nil)
	failed := record("/second", errors.New("the command failed"))
	if !failed.Kept || failed.Tape != filepath.Join(p.dir, "tapes", "default.new") {
		t.Errorf("the result is %+v", failed)
	}
	old, err := tape.Open(filepath.Join(p.dir, "tapes", "default"))
	if err != nil || old.Calls[0].Request.URL != "http://api.example.com/first" {
		t.Errorf("the older tape is gone: %v", err)
	}
	record("/third", nil)
	if _, err := os.Stat(failed.Tape); err == nil {
		t.Error("the failed recording is still beside the new tape")
	}
}

func TestTheCommandsComposeIsTheSessions(t *testing.T) {
	p := newTestProject(t, webYAML)
	before := p.inventory()
	command, err := FindCommand([]string{"sh", "-c",
		"docker compose restart -t 1 web && docker compose exec -T web /app check http://api.example.com/exec &&" +
			" docker compose run --rm web check http://api.example.com/run && docker compose up -d --no-recreate --scale web=2 2>&1"})
	if err != nil {
		t.Fatal(err)
	}
	var id string
	result, err := Run(t.Context(), p.options(), func(ctx context.Context, s *Session) error {
		id = s.ID()
		if err := command.Run(ctx, s.Env()); err != nil {
			return err
		}
		_, err := fetch(ctx, s, "http://api.example.com/after")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wantAsBefore(before, id)
	tp, err := tape.Open(result.Tape)
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, c := range tp.Calls {
		urls = append(urls, c.Request.URL)
	}
	if got := strings.Join(urls, " "); got != "http://api.example.com/exec http://api.example.com/run http://api.example.com/after" {
		t.Errorf("the calls are %s", got)
	}
}
