package bpf

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A Redirect holds the loaded programs and their links. Closing it, or the end of
// the process, detaches them.
type Redirect struct {
	Maps
	programs redirectPrograms
	cgroup   string
	links    []link.Link
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

	r := &Redirect{
		Maps: Maps{
			config:     objs.Config,
			services:   objs.Services,
			excluded4:  objs.Excluded4,
			excluded6:  objs.Excluded6,
			pending:    objs.Pending,
			udpOrigins: objs.UdpOrigins,
		},
		programs: objs.redirectPrograms,
		cgroup:   cfg.Cgroup,
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

// Attach links the programs to the cgroup, beside any that are there. From then on
// what its processes connect to is redirected; sockets made earlier, or made
// elsewhere and passed in, are not.
func (r *Redirect) Attach() error {
	if len(r.links) > 0 {
		return errors.New("already attached")
	}
	if err := checkCgroup2(r.cgroup); err != nil {
		return err
	}
	p := &r.programs
	// The connect programs come last: what they need is in place by then.
	for _, a := range []struct {
		at      ebpf.AttachType
		program *ebpf.Program
	}{
		{ebpf.AttachCGroupSockOps, p.HandOver},
		{ebpf.AttachCgroupInet4GetPeername, p.Getpeername4},
		{ebpf.AttachCgroupInet6GetPeername, p.Getpeername6},
		{ebpf.AttachCGroupUDP4Recvmsg, p.Recvmsg4},
		{ebpf.AttachCGroupUDP6Recvmsg, p.Recvmsg6},
		{ebpf.AttachCGroupUDP4Sendmsg, p.Sendmsg4},
		{ebpf.AttachCGroupUDP6Sendmsg, p.Sendmsg6},
		{ebpf.AttachCGroupInet4Connect, p.Connect4},
		{ebpf.AttachCGroupInet6Connect, p.Connect6},
	} {
		l, err := link.AttachCgroup(link.CgroupOptions{Path: r.cgroup, Attach: a.at, Program: a.program})
		if err != nil {
			return errors.Join(fmt.Errorf("attach %v to %s: %w", a.at, r.cgroup, explain(err)), r.detach())
		}
		r.links = append(r.links, l)
	}
	return nil
}

func (r *Redirect) detach() error {
	var errs []error
	for _, l := range r.links {
		errs = append(errs, l.Close())
	}
	r.links = nil
	return errors.Join(errs...)
}

// Close detaches the programs and frees them.
func (r *Redirect) Close() error {
	return errors.Join(r.detach(), r.programs.Close(), r.Maps.Close())
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
	r, err := Load(Config{Cgroup: dir, TCPPorts: []uint16{1}, DNSPort: 1, ClosedPort: 1})
	if err != nil {
		return err
	}
	return errors.Join(r.Attach(), r.Close())
}

// explain finds the reason why the kernel refused the programs.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		return &Unsupported{
			Feature: "permission to load and attach BPF programs",
			Hint:    "run it as root with the capabilities SYS_ADMIN and NET_ADMIN, and seccomp and apparmor unconfined",
			Cause:   err,
		}
	}
	const hint = "use a newer kernel; 5.15 has all that is needed"
	for _, f := range []struct {
		feature, since string
		have           func() error
	}{
		{"bpf system call", "5.15", func() error { return features.HaveMapType(ebpf.Hash) }},
		{"BPF LRU maps", "4.10", func() error { return features.HaveMapType(ebpf.LRUHash) }},
		{"BPF prefix maps", "4.11", func() error { return features.HaveMapType(ebpf.LPMTrie) }},
		{"BPF socket storage", "5.2", func() error { return features.HaveMapType(ebpf.SkStorage) }},
		{"BPF cgroup programs (CONFIG_CGROUP_BPF)", "4.17", func() error { return features.HaveProgramType(ebpf.CGroupSockAddr) }},
		{"BPF sockops programs", "4.13", func() error { return features.HaveProgramType(ebpf.SockOps) }},
		{"bpf_get_netns_cookie", "5.7", helper(asm.FnGetNetnsCookie)},
		{"bpf_get_current_ancestor_cgroup_id", "5.7", helper(asm.FnGetCurrentAncestorCgroupId)},
		{"bpf_sk_storage_get in cgroup programs", "5.8", helper(asm.FnSkStorageGet)},
	} {
		if errors.Is(f.have(), ebpf.ErrNotSupported) {
			return &Unsupported{Feature: f.feature, Since: f.since, Hint: hint, Cause: err}
		}
	}
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, link.ErrNotSupported) || errors.Is(err, unix.EINVAL) {
		return &Unsupported{Feature: "BPF cgroup hooks", Since: "5.15", Hint: hint, Cause: err}
	}
	return err
}

func helper(fn asm.BuiltinFunc) func() error {
	return func() error { return features.HaveProgramHelper(ebpf.CGroupSockAddr, fn) }
}
