package images

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/wiretape/wiretape/dev/leaktest"
	"github.com/wiretape/wiretape/dev/needs"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// compile builds a Go program for linux, and returns its path.
func compile(t *testing.T, source string, env ...string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "prog"), file)
	cmd.Env = append(append(os.Environ(), "GOOS=linux", "GOFLAGS="), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "prog")
}

const hello = `package main

import "os"

func main() { os.Stdout.WriteString("hello from " + os.Args[0] + "\n") }
`

func helloBinary(t *testing.T, arch string) *Binary {
	t.Helper()
	b, err := OpenBinary(compile(t, hello, "CGO_ENABLED=0", "GOARCH="+arch))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bytesBinary is a binary of the bytes given, which need not be a program.
func bytesBinary(t *testing.T, content string) *Binary {
	t.Helper()
	b, err := newBinary("amd64", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBinaryTellsItsArchitecture(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		if b := helloBinary(t, arch); b.Arch != arch || len(b.Digest) != 64 || b.Size == 0 {
			t.Errorf("built for %s: %+v", arch, b)
		}
	}
}

func TestFilesThatAreNoAgent(t *testing.T) {
	needs.Time(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBinary(script); err == nil || !strings.Contains(err.Error(), "not a Linux executable") {
		t.Errorf("a script: %v", err)
	}
	if _, err := OpenBinary(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := exec.LookPath("gcc"); err != nil || runtime.GOOS != "linux" {
		t.Skip("no C compiler for a dynamic program")
	}
	dynamic := compile(t, "package main\n\nimport \"C\"\n\nfunc main() {}\n", "CGO_ENABLED=1")
	if _, err := OpenBinary(dynamic); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("a dynamic program: %v", err)
	}
}

func TestBuildsWithoutAgentsSaySo(t *testing.T) {
	_, err := AgentBinary("riscv64")
	if err == nil || !strings.Contains(err.Error(), "linux/riscv64") || !strings.Contains(err.Error(), "make cross") {
		t.Errorf("got %v", err)
	}
}

func TestOwnProgramIsTheAgentWhereItCanBe(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only a Linux program can be the agent")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want, wantErr := OpenBinary(self) // fails where the tests are built with cgo
	got, err := AgentBinary(runtime.GOARCH)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("got %v, want %v", err, wantErr)
	}
	if err == nil && got.Digest != want.Digest {
		t.Error("the agent is another program")
	}
}

func TestNormalizeArch(t *testing.T) {
	for in, want := range map[string]string{"x86_64": "amd64", "aarch64": "arm64", "amd64": "amd64", "mips": "mips"} {
		if got := NormalizeArch(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestReferencesAreValid(t *testing.T) {
	b := bytesBinary(t, "x")
	valid := regexp.MustCompile(`^wiretape/agent:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	for version, want := range map[string]string{
		"v1.2.3": "v1.2.3", "v1.2.3-4-gabc-dirty": "v1.2.3-4-gabc-dirty", "1+meta": "1_meta",
		"": "dev", "-.x": "x", strings.Repeat("v", 300): strings.Repeat("v", 100), "é/ü": "___",
	} {
		ref := AgentImage(b, version).Ref
		if !valid.MatchString(ref) || ref != Repository+":"+want+"-"+b.Digest[:12] {
			t.Errorf("%q: got %s", version, ref)
		}
	}
	if AgentImage(b, "v1").Ref == AgentImage(bytesBinary(t, "y"), "v1").Ref {
		t.Error("two programs have the same reference")
	}
}

func TestImageIsDeterministicAndHoldsTheProgramAlone(t *testing.T) {
	for _, size := range []int{0, 1, 511, 512, 513, 100000} {
		content := strings.Repeat("b", size)
		img := AgentImage(bytesBinary(t, content), "v1")
		var a, b bytes.Buffer
		if err := errors.Join(img.Write(&a), img.Write(&b)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Error("two writes differ")
		}
		got, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(a.Bytes())), nil }, nil)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := got.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if cfg.OS != "linux" || cfg.Architecture != "amd64" || cfg.Config.Entrypoint[0] != Executable ||
			cfg.Config.Labels[LabelDigest] != img.binary.Digest || !cfg.Created.Equal(time.Unix(0, 0)) {
			t.Errorf("config %+v", cfg)
		}
		layers, err := got.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%d layers, %v", len(layers), err)
		}
		r, err := layers[0].Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		files := tar.NewReader(r)
		h, err := files.Next()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(files)
		if err != nil || string(body) != content || h.Name != "wiretape" || h.Mode != 0o755 {
			t.Errorf("%s has mode %o and %d bytes (%v)", h.Name, h.Mode, len(body), err)
		}
		if _, err := files.Next(); err != io.EOF {
			t.Errorf("there is more in the layer (%v)", err)
		}
	}
}

// engineAPI is a Docker client of an engine API that answers as handle says.
func engineAPI(t *testing.T, handle http.HandlerFunc) *client.Client {
	t.Helper()
	srv := httptest.NewServer(handle)
	t.Cleanup(srv.Close)
	c, err := client.NewClientWithOpts(client.WithHost("tcp://"+srv.Listener.Addr().String()), client.WithVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestFailedLoadsSayWhatTheEngineSaid(t *testing.T) {
	img := AgentImage(bytesBinary(t, strings.Repeat("b", 1<<20)), "v1")
	for _, tc := range []struct {
		name    string
		load    func(w http.ResponseWriter, r *http.Request)
		message string
	}{
		{"an error in the stream", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, `{"stream":"Loading"}`+"\n"+`{"errorDetail":{"message":"no space left on device"},"error":"x"}`+"\n")
		}, "no space left on device"},
		{"an old engine's error in the stream", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, `{"error":"wrong diff id"}`)
		}, "wrong diff id"},
		{"a status", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"message":"authorization denied by plugin"}`)
		}, "authorization denied by plugin"},
		{"a refusal before the image was read", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, `{"message":"shutting down"}`)
		}, "shutting down"},
		{"a success that was none", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, "Loaded, I believe\n")
		}, "doesn't have it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := engineAPI(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/images/load") {
					tc.load(w, r)
					return
				}
				w.WriteHeader(http.StatusNotFound)
				io.WriteString(w, `{"message":"No such image"}`)
			})
			loaded, err := Ensure(t.Context(), c, img)
			if loaded || err == nil || !strings.Contains(err.Error(), tc.message) || !strings.Contains(err.Error(), img.Ref) {
				t.Errorf("got %v, %v; want %q", loaded, err, tc.message)
			}
		})
	}
}

// An engine with containerd's store has the image then, and says so, but no container
// can be made of it.
func TestAnImageThatWasLoadedButNotUnpackedIsAFailureAndGone(t *testing.T) {
	img := AgentImage(bytesBinary(t, "x"), "v1")
	stored := false
	c := engineAPI(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/images/load"):
			io.Copy(io.Discard, r.Body)
			stored = true
			// The lines of Docker 28.5 and 29, in their order.
			io.WriteString(w, `{"stream":"Loaded image: `+img.Ref+`\n"}`+"\r\n"+
				`{"stream":"Error unpacking image `+img.Ref+`: failed to extract layer: no space left on device\n"}`+"\r\n")
		case r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/images/"+img.Ref):
			stored = false
			io.WriteString(w, `[{"Untagged":"`+img.Ref+`"}]`)
		case stored && strings.HasSuffix(r.URL.Path, "/images/"+img.Ref+"/json"):
			io.WriteString(w, `{"Id":"sha256:1","Architecture":"amd64","Config":{"Labels":{"`+LabelDigest+`":"`+img.binary.Digest+`"}}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"message":"No such image"}`)
		}
	})
	for range 2 {
		loaded, err := Ensure(t.Context(), c, img)
		if loaded || err == nil || !strings.Contains(err.Error(), "failed to extract layer: no space left on device") {
			t.Errorf("got %v, %v", loaded, err)
		}
	}
	if stored {
		t.Error("the image is still there, and the next session would take it")
	}
}

func TestEngineThatCannotBeReachedIsAnError(t *testing.T) {
	c, err := client.NewClientWithOpts(client.WithHost("unix://"+filepath.Join(t.TempDir(), "none.sock")), client.WithVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := Ensure(t.Context(), c, AgentImage(bytesBinary(t, "x"), "v1")); err == nil || !strings.Contains(err.Error(), "none.sock") {
		t.Errorf("got %v", err)
	}
}

func TestBinaryThatCannotBeReadFailsTheLoad(t *testing.T) {
	b := bytesBinary(t, "x")
	gone := errors.New("the file is gone")
	b.open = func() (io.ReadCloser, error) { return nil, gone }
	c := engineAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/images/load") {
			w.WriteHeader(http.StatusNotFound)
		}
		io.Copy(io.Discard, r.Body)
	})
	if _, err := Ensure(t.Context(), c, AgentImage(b, "v1")); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
}

func TestAnImageOfTheSameNameWithAnotherProgramIsReplaced(t *testing.T) {
	img := AgentImage(bytesBinary(t, "x"), "v1")
	loads := 0
	c := engineAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/images/load") {
			loads++
			io.Copy(io.Discard, r.Body)
			return
		}
		digest := "another"
		if loads > 0 {
			digest = img.binary.Digest
		}
		io.WriteString(w, `{"Id":"sha256:1","Architecture":"amd64","Config":{"Labels":{"`+LabelDigest+`":"`+digest+`"}}}`)
	})
	if loaded, err := Ensure(t.Context(), c, img); !loaded || err != nil || loads != 1 {
		t.Errorf("got %v, %v after %d loads", loaded, err, loads)
	}
}

// engine is a client of the machine's engine.
func engine(t *testing.T) *client.Client {
	t.Helper()
	var c *client.Client
	needs.Engine(t, func() (err error) {
		if c, err = client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation()); err == nil {
			_, err = c.Ping(t.Context())
		}
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAgentRunsInARealEngine(t *testing.T) {
	c := engine(t)
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bin := helloBinary(t, NormalizeArch(info.Architecture))
	img := AgentImage(bin, "v0-test")
	remove := func() { c.ImageRemove(context.WithoutCancel(t.Context()), img.Ref, image.RemoveOptions{Force: true}) }
	remove()
	t.Cleanup(remove)
	for _, want := range []bool{true, false} {
		loaded, err := Ensure(t.Context(), c, img)
		if err != nil || loaded != want {
			t.Fatalf("got %v, %v; want %v", loaded, err, want)
		}
	}
	if out := runOnce(t, c, img.Ref); !strings.Contains(out, "hello from /wiretape") {
		t.Errorf("the container said %q", out)
	}
	if removed, err := Prune(t.Context(), c, func(string) bool { return true }); err != nil || len(removed) != 0 {
		t.Errorf("pruned %q, %v; want nothing", removed, err)
	}
	removed, err := Prune(t.Context(), c, func(ref string) bool { return ref != img.Ref })
	if err != nil || len(removed) != 1 || removed[0] != img.Ref {
		t.Errorf("pruned %q, %v; want the image of this test alone", removed, err)
	}
}

func TestARealEngineRefusesAnImageThatWasChanged(t *testing.T) {
	c := engine(t)
	b := bytesBinary(t, "one")
	opened := 0
	b.open = func() (io.ReadCloser, error) {
		opened++
		return io.NopCloser(strings.NewReader([]string{"one", "two"}[opened%2])), nil
	}
	img := AgentImage(b, "v0-test")
	t.Cleanup(func() {
		c.ImageRemove(context.WithoutCancel(t.Context()), img.Ref, image.RemoveOptions{Force: true})
	})
	if _, err := Ensure(t.Context(), c, img); err == nil || !strings.Contains(err.Error(), img.Ref) {
		t.Error("the engine took an image whose layer is not what its config says")
	}
	if present, err := img.present(t.Context(), c); err != nil || present {
		t.Errorf("the image is there (%v, %v), and the next session would take it", present, err)
	}
}
