package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A Redirect holds the loaded programs. Closing it, or the end of the process,
// detaches them, but not in an isolated session: there they stay until
// [Redirect.Detach], or until the cgroup is removed.
type Redirect struct {
	Maps
	programs redirectPrograms
	cgroup   string
	isolate  bool
	attached []attachment
}

// An attachment is a program on the cgroup.
type attachment struct {
	at      ebpf.AttachType
	program *ebpf.Program
	link    link.Link // nil where it outlives this process
}

// Load loads the programs, which do nothing before [Redirect.Attach]. It needs
// CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN. The error is an [*Unsupported]
// where the kernel or the privilege is at fault.
func Load(cfg Config) (*Redirect, error) {
	settings, err := cfg.settings()
	if err != nil {
		return nil, err
	}
	spec, err := loadRedirect()
	if err != nil {
		return nil, err
	}
	if features.HaveProgramHelper(ebpf.CGroupSockAddr, asm.FnSetRetval) == nil {
		if err := spec.Variables[redirectVarHaveSetRetval].Set(uint8(1)); err != nil {
			return nil, err
		}
	}
	var objs redirectObjects
	if err := spec.LoadAndAssign(&objs, nil); err != nil {
		return nil, explain(err)
	}
	// The programs hold their maps; these handles are not needed.
	objs.Sockets.Close()
	objs.Accepted.Close()

	r := &Redirect{
		Maps: Maps{
			config:     objs.Config,
			services:   objs.Services,
			places4:    objs.Places4,
			places6:    objs.Places6,
			alive:      objs.Alive,
			pending:    objs.Pending,
			udpOrigins: objs.UdpOrigins,
		},
		programs: objs.redirectPrograms,
		cgroup:   cfg.Cgroup,
		isolate:  cfg.Isolate,
	}
	if err := r.fill(settings); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (cfg *Config) settings() (redirectSettings, error) {
	var set redirectSettings
	if n := len(cfg.TCPPorts); n == 0 || n > MaxTCPPorts {
		return set, fmt.Errorf("%d TCP ports, want 1 to %d", n, MaxTCPPorts)
	}
	for i, port := range cfg.TCPPorts {
		if port == 0 {
			return set, errors.New("TCP port 0")
		}
		set.TcpPort[i] = bigEndian(port)
	}
	set.TcpPorts = uint32(len(cfg.TCPPorts))
	set.DnsPort = bigEndian(cfg.DNSPort)
	set.ClosedPort = bigEndian(cfg.ClosedPort)
	if cfg.Isolate {
		if cfg.ClosedPort == 0 {
			return set, errors.New("an isolated session needs a closed port")
		}
		set.Isolate = 1
	}
	return set, nil
}

func (r *Redirect) fill(set redirectSettings) error {
	if err := r.config.Put(uint32(0), set); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	for _, p := range excludedAtFirst {
		if err := r.Exclude(p); err != nil {
			return err
		}
	}
	return nil
}

// Attach attaches the programs to the cgroup, beside any that are there. From then
// on what its processes connect to is redirected; sockets made earlier, or made
// elsewhere and passed in, are not.
func (r *Redirect) Attach() error {
	if len(r.attached) > 0 {
		return errors.New("already attached")
	}
	if err := checkCgroup2(r.cgroup); err != nil {
		return err
	}
	p := &r.programs
	// The connect programs come last: what they need is in place by then.
	for _, a := range []attachment{
		{at: ebpf.AttachCGroupInetEgress, program: p.Fence},
		{at: ebpf.AttachCGroupSockOps, program: p.HandOver},
		{at: ebpf.AttachCgroupInet4GetPeername, program: p.Getpeername4},
		{at: ebpf.AttachCgroupInet6GetPeername, program: p.Getpeername6},
		{at: ebpf.AttachCGroupUDP4Recvmsg, program: p.Recvmsg4},
		{at: ebpf.AttachCGroupUDP6Recvmsg, program: p.Recvmsg6},
		{at: ebpf.AttachCGroupUDP4Sendmsg, program: p.Sendmsg4},
		{at: ebpf.AttachCGroupUDP6Sendmsg, program: p.Sendmsg6},
		{at: ebpf.AttachCGroupInet4Connect, program: p.Connect4},
		{at: ebpf.AttachCGroupInet6Connect, program: p.Connect6},
	} {
		if a.program == p.Fence && !r.isolate {
			continue // it would only cost
		}
		if err := r.attach(a); err != nil {
			return errors.Join(fmt.Errorf("attach %v to %s: %w", a.at, r.cgroup, explain(err)), r.Detach())
		}
	}
	return nil
}

// attach attaches one program: with a link, which ends with this process, or, in an
// isolated session, as a property of the cgroup.
func (r *Redirect) attach(a attachment) (err error) {
	if r.isolate {
		err = r.onCgroup(func(fd int) error {
			return link.RawAttachProgram(link.RawAttachProgramOptions{
				Target: fd, Program: a.program, Attach: a.at, Flags: unix.BPF_F_ALLOW_MULTI,
			})
		})
	} else {
		a.link, err = link.AttachCgroup(link.CgroupOptions{Path: r.cgroup, Attach: a.at, Program: a.program})
	}
	if err == nil {
		r.attached = append(r.attached, a)
	}
	return err
}

func (r *Redirect) onCgroup(f func(fd int) error) error {
	dir, err := os.Open(r.cgroup)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(int(dir.Fd()))
}

// Detach takes the programs off the cgroup, the last attached first.
func (r *Redirect) Detach() error {
	var errs []error
	for _, a := range slices.Backward(r.attached) {
		if a.link != nil {
			errs = append(errs, a.link.Close())
			continue
		}
		// With its folder, the cgroup and all on it are gone.
		err := r.onCgroup(func(fd int) error {
			return link.RawDetachProgram(link.RawDetachProgramOptions{Target: fd, Program: a.program, Attach: a.at})
		})
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	r.attached = nil
	return errors.Join(errs...)
}

// Close frees what this process holds. In an isolated session, what is attached
// stays.
func (r *Redirect) Close() error {
	var errs []error
	if !r.isolate {
		errs = append(errs, r.Detach())
	}
	return errors.Join(append(errs, r.programs.Close(), r.Maps.Close())...)
}

// Probe loads every program and attaches it to a cgroup of its own making, which it
// removes again. cgroup2 is the mount point of a cgroup2 tree. The error is an
// [*Unsupported] where the kernel or the privilege is at fault.
func Probe(cgroup2 string) (err error) {
	if err := checkCgroup2(cgroup2); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(cgroup2, "wiretape-probe-")
	if err != nil {
		return explainAccess(err)
	}
	defer func() { err = errors.Join(err, unix.Rmdir(dir)) }()
	r, err := Load(Config{Cgroup: dir, TCPPorts: []uint16{1}, DNSPort: 1, ClosedPort: 1, Isolate: true})
	if err != nil {
		return err
	}
	live, err := r.Live()
	if err == nil {
		defer live.Close()
		err = r.Attach()
	}
	return errors.Join(err, r.Detach(), r.Close())
}
