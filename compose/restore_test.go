package compose

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/google/go-cmp/cmp"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/httpstream/event"
)

// netsYAML has what an undo can get wrong: several networks with aliases, fixed
// and dual-stack addresses, shared namespaces, replicas, profiles, jobs that have
// ended, an engine-chosen port, and a network of somebody else's. NET is a number.
const netsYAML = `
services:
  web:
    image: IMAGE
    command: [web]
    ports: ["127.0.0.1::8080", "127.0.0.1::8081"]
    environment: {WEB_TOKEN: "hush-hush"}
    networks:
      front: {aliases: [shop, www.shop.test]}
      back: {ipv4_address: 10.213.NET.20, ipv6_address: "fd13:NET::20", aliases: [web-back]}
      outside: {aliases: [web-outside]}
    depends_on:
      db: {condition: service_started}
      migrate: {condition: service_completed_successfully}
  side:
    image: IMAGE
    command: [sleep]
    network_mode: "service:web"
  db:
    image: IMAGE
    command: [write, /anonymous/file, kept]
    volumes: [/anonymous, "data:/data"]
    links: ["cache:speedy"]
    networks: {back: {ipv4_address: 10.213.NET.10}}
  cache:
    image: IMAGE
    command: [sleep]
    networks: [back, third]
    deploy: {replicas: 2}
  migrate:
    image: IMAGE
    command: [say, "0", "migrated"]
    networks: [back]
  failed:
    image: IMAGE
    command: [say, "3", "it failed, long ago"]
    networks: [front, third]
    profiles: [debug]
  idle:
    image: IMAGE
    command: [sleep]
    networks: [third]
networks:
  front: {internal: true}
  back:
    enable_ipv6: true
    ipam: {config: [{subnet: 10.213.NET.0/24, gateway: 10.213.NET.1}, {subnet: "fd13:NET::/64"}]}
  third: {driver_opts: {com.docker.network.bridge.enable_icc: "true"}}
  outside:
    external: true
    name: OUTSIDE
volumes:
  data:
`

// startNets brings that project up without us.
func startNets(t *testing.T) (p *testProject, before map[string]string) {
	text := strings.ReplaceAll(netsYAML, "NET", strconv.Itoa(20+rand.IntN(200)))
	p = newTestProject(t, text)
	p.compose("--profile", "debug", "up", "-d", "--wait=false")
	p.compose("stop", "-t", "0", "idle")
	p.docker("pause", p.name+"-cache-2")
	for range 100 {
		if !strings.Contains(p.docker("ps", "-a", "--filter", "label="+composeProject+"="+p.name, "--format", "{{.Names}} {{.State}}"), "failed-1 running") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return p, p.fingerprints()
}

// fingerprints are all that the engine tells of the project's containers and
// networks, but for what changes when a container is started again: times,
// process IDs, sandboxes, and the numbers of ports that the engine chooses.
func (p *testProject) fingerprints() map[string]string {
	p.t.Helper()
	ctx := context.Background()
	out := make(map[string]string)
	list, err := session.ContainersWith(ctx, p.engine, session.Label(composeProject, p.name))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, c := range list {
		info, err := p.engine.ContainerInspect(ctx, c.ID)
		if err != nil {
			p.t.Fatal(err)
		}
		print := map[string]any{
			"ID": info.ID, "Name": info.Name, "Image": info.Image, "Config": info.Config, "HostConfig": info.HostConfig, "Mounts": info.Mounts,
			"Status": info.State.Status, "ExitCode": info.State.ExitCode, "RestartCount": info.RestartCount,
		}
		if !info.State.Running {
			print["Ended"] = info.State.FinishedAt
			print["Log"] = p.docker("logs", c.ID)
		}
		slices.SortFunc(info.Mounts, func(a, b container.MountPoint) int { return strings.Compare(a.Destination, b.Destination) })
		for name, n := range info.NetworkSettings.Networks {
			n.NetworkID, n.EndpointID, n.MacAddress = "", "", ""
			if n.IPAMConfig == nil || n.IPAMConfig.IPv4Address == "" { // the engine chose it, for this start
				n.IPAddress, n.Gateway, n.IPPrefixLen = "", "", 0
			}
			if n.IPAMConfig == nil || n.IPAMConfig.IPv6Address == "" {
				n.GlobalIPv6Address, n.IPv6Gateway, n.GlobalIPv6PrefixLen = "", "", 0
			}
			slices.Sort(n.Aliases)
			print["Network "+name] = n
		}
		out["container "+info.Name] = toJSON(p.t, print)
	}
	found, err := p.engine.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(session.Label(composeProject, p.name))})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, n := range found {
		n.ID, n.Created, n.Containers = "", time.Time{}, nil
		if n.Name != p.name+"_back" { // who else uses the engine may get a subnet that it chose, once it is free
			n.IPAM.Config = nil
		}
		out["network "+n.Name] = toJSON(p.t, n)
	}
	return out
}

func toJSON(t testing.TB, v any) string {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// wantExactly checks that the project is exactly as it was, and that nothing of
// a session is left.
func (p *testProject) wantExactly(before map[string]string) {
	p.t.Helper()
	if diff := cmp.Diff(before, p.fingerprints()); diff != "" {
		p.t.Errorf("the project is not as it was (-before +now):\n%s", diff)
	}
	for _, kind := range []string{"volume", "network"} {
		if left := p.docker(kind, "ls", "-q", "--filter", "label="+session.LabelProject+"="+p.name); left != "" {
			p.t.Errorf("%ss are left: %s", kind, left)
		}
	}
	if left := p.docker("ps", "-aq", "--filter", "label="+session.LabelProject+"="+p.name); left != "" {
		p.t.Errorf("containers are left: %s", left)
	}
}

func TestEverythingIsAsItWas(t *testing.T) {
	p, before := startNets(t)
	for _, mode := range []string{"record", "replay"} {
		opt := p.options()
		opt.Mode = "record"
		if mode == "replay" {
			opt.Mode, opt.Tape = "replay", p.emptyTape()
		}
		if _, err := Run(t.Context(), opt, func(_ context.Context, s *Session) error {
			p.lookAsTheCommand(s)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		p.wantExactly(before)
	}
}

// lookAsTheCommand checks what a command in the session sees of the project, and
// what the session keeps of it.
func (p *testProject) lookAsTheCommand(s *Session) {
	docker := func(args ...string) string {
		cmd := exec.Command("docker", args...)
		cmd.Env = append(os.Environ(), s.Env()...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			p.t.Errorf("docker %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for i, port := range []string{"8080", "8081"} {
		if got, want := docker("compose", "port", "web", port), s.Published()[i].Published; got != want {
			p.t.Errorf("docker compose port web %s says %s, want %s", port, got, want)
		}
		if got, want := docker("port", p.name+"-web-1", port), s.Published()[i].Published; got != want {
			p.t.Errorf("docker port says %s, want %s", got, want)
		}
	}
	if all := docker("ps", "-a", "--format", "{{.Names}}"); strings.Contains(all, "-aside-") || !strings.Contains(all, p.name+"-web-1") {
		p.t.Errorf("docker ps shows %s", all)
	}
	state := p.docker("volume", "inspect", "wiretape-"+s.ID()+"-trust", "--format", "{{json .Labels}}")
	if strings.Contains(state, "hush-hush") || !strings.Contains(state, p.name+"-web-1") {
		p.t.Errorf("the state has what it must not have, or lacks what it must: %s", state)
	}
}

// A container of the project's is removed by somebody else while it is set aside.
func TestWhatCanNotBePutBackIsSaid(t *testing.T) {
	p, before := startNets(t)
	said := ""
	opt := p.options()
	log := opt.Progress
	opt.Progress = func(m Progress) {
		log(m)
		if m.Kind == Failed {
			said += m.Text + " " + m.Hint + "\n"
		}
	}
	_, err := Run(t.Context(), opt, func(_ context.Context, s *Session) error {
		p.docker("rm", "-f", "wiretape-"+s.ID()+"-aside-"+p.name+"-idle-1")
		return nil
	})
	var e *event.Problem
	if !errors.As(err, &e) || e.Kind != event.Environment || !strings.Contains(err.Error(), p.name+"-idle-1 was removed") {
		t.Errorf("the error is %v", err)
	}
	if !strings.Contains(said, "by hand: docker compose -p "+p.name+" up -d idle") {
		t.Errorf("said: %s", said)
	}
	delete(before, "container /"+p.name+"-idle-1")
	p.wantExactly(before)
}

// A network that the engine does not remove is left by a killed session.
func TestALeftoverThatDoesNoHarmStopsNoSession(t *testing.T) {
	p := newTestProject(t, webYAML)
	id := p.killedSession("record")
	network, user := "wiretape-"+id, p.name+"-user"
	p.docker("run", "-d", "--name", user, "--network", network, p.image, "sleep")
	t.Cleanup(func() { exec.Command("docker", "rm", "-f", user).Run() })
	said := ""
	opt := p.options()
	log := opt.Progress
	opt.Progress = func(m Progress) {
		log(m)
		if m.Kind == Warn {
			said += m.Text + " " + m.Hint + "\n"
		}
	}
	wantSaid := func() {
		t.Helper()
		if !strings.Contains(said, "left behind, which does no harm: ") || !strings.Contains(said, user+" uses it") ||
			!strings.Contains(said, "by hand: docker network rm "+network) {
			t.Errorf("said: %s", said)
		}
		said = ""
	}
	ran := false
	if _, err := Run(t.Context(), opt, func(context.Context, *Session) error {
		ran = true
		return nil
	}); err != nil || !ran {
		t.Fatalf("the session ran: %v; %v", ran, err)
	}
	wantSaid()
	if _, err := Down(t.Context(), opt); err != nil {
		t.Error(err)
	}
	wantSaid()
	p.docker("rm", "-f", user)
	if _, err := Down(t.Context(), opt); err != nil || said != "" {
		t.Errorf("%v; said: %s", err, said)
	}
	p.wantExactly(map[string]string{})
}

// rounds is how often something is tried at random moments.
func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("WIRETAPE_ROUNDS")); err == nil {
		return n
	}
	return 4
}

// A session is interrupted, and its CLI killed, at random moments.
func TestEndedAtAnyMomentItIsAsItWas(t *testing.T) {
	p, before := startNets(t)
	tape := p.emptyTape()
	for n := range rounds() {
		mode := []string{"replay", "record"}[n%2]
		after := time.Duration(rand.IntN(8000)) * time.Millisecond
		if n/2%2 == 0 {
			p.killedAfter(after, mode, tape)
		} else {
			p.interruptedAfter(after, mode, tape)
		}
		p.wantExactly(before)
		if t.Failed() {
			return
		}
	}
}

func (p *testProject) interruptedAfter(after time.Duration, mode, tape string) {
	opt := p.options()
	opt.Mode = agent.Mode(mode)
	if mode == "replay" {
		opt.Tape = tape
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), after)
	defer cancel()
	_, err := Run(ctx, opt, func(ctx context.Context, s *Session) error {
		<-ctx.Done()
		return nil
	})
	p.t.Logf("%s, interrupted after %v: %v", mode, after, err)
	var e *event.Problem
	if err != nil && (!errors.As(err, &e) || e.Kind != event.Interrupted) {
		p.t.Error(err)
	}
}

func (p *testProject) killedAfter(after time.Duration, mode, tape string) {
	cmd := exec.Command(os.Args[0], p.name, filepath.Join(p.dir, "compose.yaml"), filepath.Join(testDir(), "agent"), filepath.Join(testDir(), "ca"), tape)
	cmd.Env = append(os.Environ(), helperEnv+"="+mode)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	time.Sleep(after)
	cmd.Process.Kill()
	cmd.Wait()
	n, err := Down(p.t.Context(), p.options())
	p.t.Logf("%s, killed after %v; sessions undone: %d", mode, after, n)
	if err != nil {
		p.t.Error(err)
	}
}

// A subnet in which the project's own containers have all addresses.
func TestAFullSubnet(t *testing.T) {
	p := newTestProject(t, strings.ReplaceAll(`
services:
  web:
    image: IMAGE
    command: [web]
    ports: ["127.0.0.1::8080"]
    networks: {default: {ipv4_address: 10.214.NET.2}}
  db:
    image: IMAGE
    command: [origin]
    scale: 4
    depends_on: [web] # else the engine may give it web's address
networks:
  default: {internal: true, ipam: {config: [{subnet: 10.214.NET.0/29}]}}
`, "NET", strconv.Itoa(rand.IntN(250))))
	p.compose("up", "-d")
	before := p.fingerprints()
	for _, mode := range []string{"record", "replay"} {
		opt := p.options()
		opt.Mode = agent.Mode(mode)
		if mode == "replay" {
			opt.Tape = p.emptyTape()
		}
		_, err := Run(t.Context(), opt, func(ctx context.Context, s *Session) error {
			if got, err := fetch(ctx, s, "http://db/a"); err != nil {
				t.Errorf("%s: inside the project: %q, %v", mode, got, err)
			}
			if _, err := fetch(ctx, s, "http://api.example.com/a"); mode == "replay" && (err == nil || !strings.Contains(err.Error(), "502")) {
				t.Errorf("a call outside: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		p.wantExactly(before)
	}
}
