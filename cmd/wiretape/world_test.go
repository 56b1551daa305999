package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// A world is what scripts with whole sessions share: wiretape as a static program,
// which can be its own agent, and an image. It is made when the first of them runs.
type world struct {
	once       sync.Once
	dir, image string
	err        error
}

func (w *world) make() error {
	w.once.Do(func() { w.err = w.build() })
	return w.err
}

func (w *world) build() error {
	dir, err := os.MkdirTemp("", "wiretape-script-")
	if err != nil {
		return err
	}
	w.dir, w.image = dir, "wiretape-script/app:"+randomName()
	for out, pkg := range map[string]string{"wiretape": ".", "app": "./testdata/app"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, out), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
		}
	}
	program, err := os.ReadFile(filepath.Join(dir, "app"))
	if err != nil {
		return err
	}
	var image bytes.Buffer
	tw := tar.NewWriter(&image)
	tw.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(program))})
	tw.Write(program)
	tw.Close()
	load := exec.Command("docker", "import", "--change", `ENTRYPOINT ["/app"]`, "-", w.image)
	load.Stdin = &image
	if text, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("docker import: %w\n%s", err, text)
	}
	return nil
}

// remove is for when all scripts are done.
func (w *world) remove() {
	if w.dir == "" {
		return
	}
	exec.Command("docker", "image", "rm", "--force", w.image).Run()
	os.RemoveAll(w.dir)
}

func randomName() string {
	var b [4]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// projectCmd is "project FILE…": in these files, IMAGE, PROJECT, OUTSIDE and PORT
// become this script's own. $PORT is a free port of the host; $OUTSIDE is a network on
// which api.example.com is, and the container that it is. wiretape is one that can run
// sessions from here on, on the real engine.
func (w *world) projectCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: project FILE...")
	}
	ts.Check(w.make())
	name := "verbs-script-" + randomName()
	outside := name + "-outside"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	own := strings.NewReplacer("IMAGE", w.image, "PROJECT", name, "OUTSIDE", outside, "PORT", port)
	for _, file := range args {
		path := ts.MkAbs(file)
		ts.Check(os.WriteFile(path, []byte(own.Replace(ts.ReadFile(file))), 0o600))
	}
	docker := func(args ...string) error {
		text, err := exec.Command("docker", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("docker %s: %w\n%s", strings.Join(args, " "), err, text)
		}
		return nil
	}
	ts.Defer(func() {
		exec.Command(filepath.Join(w.dir, "wiretape"), "compose", "down", "-p", name).Run()
		docker("compose", "-p", name, "down", "--volumes")
		docker("rm", "--force", "--volumes", outside)
		docker("network", "rm", outside)
	})
	ts.Check(docker("network", "create", "--internal", outside))
	ts.Check(docker("run", "--detach", "--name", outside, "--network", outside, "--network-alias", "api.example.com", w.image, "origin"))
	ts.Setenv("PORT", port)
	ts.Setenv("OUTSIDE", outside)
	ts.Setenv("PROJECT", name)
	ts.Setenv("DOCKER_HOST", ts.Getenv("ENGINE"))
	ts.Setenv("DOCKER_BUILDKIT", "0")
	ts.Setenv("PATH", w.dir+string(filepath.ListSeparator)+ts.Getenv("PATH"))
}

// interruptable is a program that runs a command, and interrupts it as Ctrl-C does once
// it tells of the first case. It ends as the command does.
func interruptable() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Println(lines.Text())
		if strings.Contains(lines.Text(), "0001-") {
			cmd.Process.Signal(os.Interrupt)
		}
	}
	cmd.Wait()
	os.Exit(cmd.ProcessState.ExitCode())
}
