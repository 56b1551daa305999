package compose

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream/event"
)

func TestACommandThatIsNotThere(t *testing.T) {
	for _, name := range []string{"no-such-command-here", "./nope", "/etc/passwd"} {
		_, err := FindCommand([]string{name})
		var e *event.Problem
		if !errors.As(err, &e) || e.Kind != event.Usage || !strings.Contains(err.Error(), name) {
			t.Errorf("the error is %v", err)
		}
	}
}

// sessionEnv is the environment of a command in a session.
func sessionEnv() []string {
	opt := &Options{ProjectFlags: ProjectFlags{Profiles: []string{"debug"}}}
	opt.Mode = "record"
	rt := &composeRuntime{
		opt: opt, name: "shop", overridePath: "/tmp/o.yaml",
		project: &Project{Files: []string{"/p/compose.yaml", "/p/a:b.yaml"}},
	}
	return rt.environment("id")
}

func TestTheCommandsEnvironmentMeansTheSession(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	c, err := FindCommand([]string{"sh", "-c", "env > " + out + "; exit 3"})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Run(t.Context(), sessionEnv())
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 3 || exit.Name != "sh" {
		t.Errorf("the error is %v", err)
	}
	data, _ := os.ReadFile(out)
	for _, want := range []string{
		"COMPOSE_PROJECT_NAME=shop\n", "COMPOSE_FILE=/p/compose.yaml|/p/a:b.yaml|/tmp/o.yaml\n",
		"COMPOSE_PATH_SEPARATOR=|\n", "WIRETAPE_MODE=record\n", "COMPOSE_PROFILES=debug\n",
	} {
		if !strings.Contains("\n"+string(data), "\n"+want) {
			t.Errorf("%q is not in its environment", want)
		}
	}
}

func TestACommandIsInterruptedWithItsChildren(t *testing.T) {
	dir := t.TempDir()
	c, err := FindCommand([]string{"sh", "-c",
		"trap 'echo > " + dir + "/interrupted; exit 130' INT; (trap 'echo > " + dir + "/child; exit' INT; echo > " + dir + "/up; while :; do sleep 0.01; done) & wait"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for {
			if _, err := os.Stat(filepath.Join(dir, "up")); err == nil || t.Context().Err() != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	err = c.Run(ctx, sessionEnv())
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 130 {
		t.Errorf("the error is %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "interrupted")); err != nil {
		t.Error("the command did not hear of it")
	}
}
