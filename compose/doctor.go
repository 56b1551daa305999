package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/images"
)

// doctorTimeout bounds the check in the container.
const doctorTimeout = time.Minute

// A Finding is one thing that the doctor looked at.
type Finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"` // what to do if it is not OK
}

// DoctorOptions say how to look.
type DoctorOptions struct {
	Version    string
	Privileged bool
	Agent      *images.Binary // as in Options
	Found      func(Finding)
}

// Doctor checks what a session needs, one thing after the other, and tells of
// each. The error is the first thing that is missing.
func Doctor(ctx context.Context, opt DoctorOptions) error {
	d := &doctor{ctx: ctx, opt: opt}
	defer d.close()
	for _, check := range []func() Finding{d.engineAnswers, d.composeWorks, d.imageLoads, d.kernelCan} {
		f := check()
		opt.Found(f)
		if !f.OK {
			return session.EnvironmentError(f.Hint, "%s: %s", f.Check, f.Detail)
		}
	}
	return nil
}

type doctor struct {
	ctx    context.Context
	opt    DoctorOptions
	engine *client.Client
	info   session.EngineInfo
	image  string
}

func (d *doctor) close() {
	if d.engine != nil {
		_ = d.engine.Close()
	}
}

// wrong is the finding that err makes.
func wrong(check string, err error) Finding {
	f := Finding{Check: check, Detail: err.Error()}
	var known *event.Problem
	if errors.As(err, &known) {
		f.Hint = known.Next
	}
	return f
}

func (d *doctor) engineAnswers() Finding {
	const check = "docker engine"
	c, err := Connect(d.ctx)
	if err != nil {
		return wrong(check, err)
	}
	d.engine = c
	if d.info, err = session.ObserveEngine(d.ctx, c); err != nil {
		return wrong(check, err)
	}
	driver := "cgroupfs"
	if d.info.Systemd {
		driver = "systemd"
	}
	return Finding{Check: check, OK: true, Detail: fmt.Sprintf("%s, linux/%s, cgroup driver %s", d.info.Version, d.info.Arch, driver)}
}

func (d *doctor) composeWorks() Finding {
	const check = "docker compose"
	out, err := runDocker(d.ctx, "docker", nil, nil, "compose", "version", "--short")
	if err != nil {
		return wrong(check, composeError(err))
	}
	return Finding{Check: check, OK: true, Detail: strings.TrimSpace(string(out))}
}

func (d *doctor) imageLoads() Finding {
	const check = "agent image"
	binary := d.opt.Agent
	if binary == nil {
		var err error
		if binary, err = images.AgentBinary(d.info.Arch); err != nil {
			return wrong(check, err)
		}
	}
	img := images.AgentImage(binary, d.opt.Version)
	if _, err := images.Ensure(d.ctx, d.engine, img); err != nil {
		return wrong(check, session.EngineError(err))
	}
	d.image = img.Ref
	return Finding{Check: check, OK: true, Detail: img.Ref}
}

// kernelCan runs the agent's own check where sessions run: in a container of the
// engine's, with the capabilities that a session has, and without any network.
func (d *doctor) kernelCan() Finding {
	const check = "kernel"
	ctx, cancel := context.WithTimeout(d.ctx, doctorTimeout)
	defer cancel()
	out, err := d.runAgent(ctx)
	if err != nil {
		return wrong(check, session.StartError(err, d.info, d.opt.Privileged))
	}
	var verdict agent.FromAgent
	line, _, _ := bytes.Cut(out, []byte("\n"))
	if err := json.Unmarshal(line, &verdict); err != nil || verdict.Fatal == nil && !verdict.Ready {
		return Finding{Check: check, Detail: "the agent did not answer: " + strings.TrimSpace(string(out))}
	}
	if f := verdict.Fatal; f != nil {
		return Finding{Check: check, Detail: f.Message(), Hint: session.FatalNext(d.info, d.opt.Privileged)(f)}
	}
	return Finding{Check: check, OK: true, Detail: "every hook loads and attaches, and a connect was redirected"}
}

func (d *doctor) runAgent(ctx context.Context) ([]byte, error) {
	host := session.AgentHost(d.info, d.opt.Privileged)
	host.NetworkMode = "none"
	name := "wiretape-doctor-" + session.NewID()
	created, err := d.engine.ContainerCreate(ctx, &container.Config{
		Image: d.image, Entrypoint: []string{images.Executable}, Cmd: []string{"agent", "doctor"},
		AttachStdout: true, AttachStderr: true,
	}, host, nil, nil, name)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = d.engine.ContainerRemove(context.WithoutCancel(ctx), created.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	}()
	stream, err := d.engine.ContainerAttach(ctx, created.ID, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if err := d.engine.ContainerStart(ctx, created.ID, container.StartOptions{}); err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, stream.Reader); err != nil {
		return nil, err
	}
	if stdout.Len() == 0 {
		return stderr.Bytes(), nil
	}
	return stdout.Bytes(), nil
}
