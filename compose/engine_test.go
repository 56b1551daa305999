package compose

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/dev/leaktest"
	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/images"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// A bench is an engine with the images that the tests run.
type bench struct {
	engine *client.Client
	agent  *images.Binary
	root   *mitmtls.Root
	image  string
}

// benchFor makes the bench once for all tests. Programs are built, so it takes
// a while the first time.
var benchFor = sync.OnceValues(func() (*bench, error) {
	ctx := context.Background()
	c, err := Connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.Ping(ctx); err != nil {
		return nil, err
	}
	if err := exec.Command("docker", "compose", "version").Run(); err != nil {
		return nil, fmt.Errorf("docker compose: %w", err)
	}
	b := &bench{engine: c, image: "wiretape-test/app:" + randomName()}
	agentFile := filepath.Join(testDir(), "agent")
	for out, pkg := range map[string]string{agentFile: "./testdata/agent", filepath.Join(testDir(), "app"): "./testdata/app"} {
		build := exec.Command("go", "build", "-o", out, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", pkg, err, text)
		}
	}
	if b.agent, err = images.OpenBinary(agentFile); err != nil {
		return nil, err
	}
	if b.root, err = mitmtls.LoadOrCreateRoot(filepath.Join(testDir(), "ca")); err != nil {
		return nil, err
	}
	return b, b.makeImage(ctx, filepath.Join(testDir(), "app"))
})

func (b *bench) makeImage(ctx context.Context, program string) error {
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(data))}); err != nil {
		return err
	}
	w.Write(data)
	w.Close()
	r, err := b.engine.ImageImport(ctx, image.ImportSource{Source: &buf, SourceName: "-"}, b.image,
		image.ImportOptions{Changes: []string{`ENTRYPOINT ["/app"]`}})
	if err != nil {
		return err
	}
	defer r.Close()
	var out bytes.Buffer
	_, err = out.ReadFrom(r)
	return err
}

// testDir is a folder for all tests of this run; TestMain removes it.
var testDir = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "wiretape-compose-test-")
	if err != nil {
		panic(err)
	}
	return dir
})

func randomName() string {
	var b [4]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		os.Exit(helperMain())
	}
	leaktest.Main(m, removeBench)
}

// removeBench takes away what tests with an engine shared.
func removeBench() {
	if _, err := os.Stat(filepath.Join(testDir(), "app")); err != nil {
		os.RemoveAll(testDir()) // no test needed the bench
		return
	}
	if b, err := benchFor(); err == nil {
		b.engine.ImageRemove(context.Background(), b.image, image.RemoveOptions{Force: true})
		b.engine.ImageRemove(context.Background(), images.AgentImage(b.agent, "test").Ref, image.RemoveOptions{Force: true})
		b.engine.Close()
	}
	os.RemoveAll(testDir())
}

// needEngine returns the bench, or skips the test where there is no engine.
func needEngine(t testing.TB) *bench {
	t.Helper()
	var b *bench
	needs.Engine(t, func() (err error) {
		b, err = benchFor()
		return err
	})
	return b
}

// A testProject is a compose project in a folder, with a network beside it that
// has the outside world.
type testProject struct {
	*bench
	t       testing.TB
	name    string
	dir     string
	outside string // the network
}

// newTestProject writes compose files; in them, IMAGE is the tests' image and
// OUTSIDE the network that has the outside world, where api.example.com is.
func newTestProject(t testing.TB, composeYAML string) *testProject {
	b := needEngine(t)
	id := randomName()
	p := &testProject{bench: b, t: t, name: "wttest" + id, dir: t.TempDir(), outside: "wttest" + id + "-outside"}
	p.write("compose.yaml", composeYAML)
	ctx := context.Background()
	if _, err := b.engine.NetworkCreate(ctx, p.outside, network.CreateOptions{Internal: true}); err != nil {
		t.Fatal(err)
	}
	_, err := b.engine.ContainerCreate(ctx, &container.Config{Image: b.image, Cmd: []string{"origin"}},
		&container.HostConfig{NetworkMode: container.NetworkMode(p.outside)},
		&network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			p.outside: {Aliases: []string{"api.example.com"}}}}, nil, p.outside)
	if err == nil {
		err = b.engine.ContainerStart(ctx, p.outside, container.StartOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.remove)
	return p
}

func (p *testProject) write(name, text string) {
	p.t.Helper()
	text = strings.NewReplacer("IMAGE", p.image, "OUTSIDE", p.outside).Replace(text)
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// remove removes whatever a failed test left.
func (p *testProject) remove() {
	ctx := context.Background()
	opt := p.options()
	opt.Progress = nil
	Down(ctx, opt)
	for _, l := range []string{session.Label(composeProject, p.name).Value, session.Label(session.LabelProject, p.name).Value} {
		list, _ := session.ContainersWith(ctx, p.engine, filters.Arg("label", l))
		for _, c := range list {
			p.engine.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
			for _, m := range c.Mounts { // compose made anonymous ones named by keeping them
				p.engine.VolumeRemove(ctx, m.Name, true)
			}
		}
		nets, _ := p.engine.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("label", l))})
		for _, n := range nets {
			p.engine.NetworkRemove(ctx, n.ID)
		}
		vols, _ := p.engine.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", l))})
		for _, v := range vols.Volumes {
			p.engine.VolumeRemove(ctx, v.Name, true)
		}
	}
	p.engine.ContainerRemove(ctx, p.outside, container.RemoveOptions{Force: true})
	p.engine.NetworkRemove(ctx, p.outside)
}

func (p *testProject) options() Options {
	return Options{
		ProjectFlags: ProjectFlags{ProjectName: p.name, Files: []string{filepath.Join(p.dir, "compose.yaml")}},
		ReadyTimeout: 20 * time.Second,
		Options: session.Options{
			Mode: "record", Tape: filepath.Join(p.dir, "tapes", "default"), OnMiss: "fail", Speed: 1,
			Root: p.root, Agent: p.agent, Version: "test",
			Progress: func(m Progress) {
				if m.Kind != Detail || testing.Verbose() {
					p.t.Logf("%s: %s %s", time.Now().Format("05.000"), m.Text, m.Hint)
				}
			},
		},
	}
}

func (p *testProject) docker(args ...string) string {
	p.t.Helper()
	cmd := exec.Command("docker", args...)
	cmd.Dir = p.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func (p *testProject) compose(args ...string) string {
	p.t.Helper()
	return p.docker(append([]string{"compose", "-p", p.name}, args...)...)
}

// inventory lists everything on the engine that belongs to the project or to
// wiretape's sessions over it, and the sessions' cgroups.
func (p *testProject) inventory() []string {
	p.t.Helper()
	ctx := context.Background()
	var all []string
	check := func(err error) {
		if err != nil {
			p.t.Fatal(err)
		}
	}
	for _, l := range []filters.KeyValuePair{session.Label(composeProject, p.name), session.Label(session.LabelProject, p.name)} {
		list, err := session.ContainersWith(ctx, p.engine, l)
		check(err)
		for _, c := range list {
			all = append(all, fmt.Sprintf("container %s %s session=%q", session.NameOf(c), c.State, c.Labels[session.LabelSession]))
		}
		nets, err := p.engine.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(l)})
		check(err)
		for _, n := range nets {
			all = append(all, fmt.Sprintf("network %s internal=%v", n.Name, n.Internal))
		}
		vols, err := p.engine.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(l)})
		check(err)
		for _, v := range vols.Volumes {
			all = append(all, "volume "+v.Name)
		}
	}
	slices.Sort(all)
	return all
}

// cgroupsOf lists the cgroups of a session that are left.
func cgroupsOf(session string) []string {
	var left []string
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "wiretape") && strings.Contains(d.Name(), session) {
			left = append(left, path)
		}
		return nil
	})
	return left
}

// slicesOf lists the slices of a session that systemd still has loaded.
func (p *testProject) slicesOf(session string) []string {
	p.t.Helper()
	info, err := p.engine.Info(context.Background())
	if err != nil {
		p.t.Fatal(err)
	}
	if info.CgroupDriver != "systemd" {
		return nil
	}
	out, err := exec.Command("systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=slice", "wiretape*"+session+"*").CombinedOutput()
	if err != nil {
		p.t.Errorf("the engine's systemd can't be asked here: %v\n%s", err, out)
		return nil
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}

// wantAsBefore checks that the project is as it was found.
func (p *testProject) wantAsBefore(before []string, id string) {
	p.t.Helper()
	if after := p.inventory(); !slices.Equal(before, after) {
		p.t.Errorf("not left as found\nbefore:\n\t%s\nafter:\n\t%s", strings.Join(before, "\n\t"), strings.Join(after, "\n\t"))
	}
	if id == "" {
		return
	}
	if left := cgroupsOf(id); len(left) > 0 {
		p.t.Errorf("cgroups are left: %v", left)
	}
	if left := p.slicesOf(id); len(left) > 0 {
		p.t.Errorf("systemd still has %q", left)
	}
	dangling, err := p.engine.VolumeList(context.Background(), volume.ListOptions{Filters: filters.NewArgs(session.Label(session.LabelSession, id))})
	if err != nil || len(dangling.Volumes) > 0 {
		p.t.Errorf("volumes are left: %v %v", dangling.Volumes, err)
	}
}

// fetch asks the app, through a published port, to get a URL.
func fetch(ctx context.Context, s *Session, from string) (string, error) {
	ports := s.Published()
	if len(ports) == 0 {
		return "", fmt.Errorf("nothing is published")
	}
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+ports[0].Published+"/?url="+url.QueryEscape(from), nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, body.String())
	}
	return body.String(), nil
}
