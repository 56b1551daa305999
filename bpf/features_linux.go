package bpf

import (
	"errors"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A feature is something that the programs need of the kernel: a type of maps, a hook,
// or a function in some types of programs.
type feature struct {
	name   string
	since  string // the Linux version that brought it
	option string // what a kernel must be built with; empty where it can't be left out

	maps   ebpf.MapType
	hook   hook
	helper asm.BuiltinFunc
	in     []ebpf.ProgramType // the helper's
}

// A hook is where programs are attached. Without at, the type alone tells.
type hook struct {
	program ebpf.ProgramType
	at      ebpf.AttachType
}

// kernelFeatures are those that the programs need, the oldest first, so that what is
// named is what the others build on.
func kernelFeatures() []feature {
	const cgroups = "CONFIG_CGROUP_BPF"
	sockAddr := []ebpf.ProgramType{ebpf.CGroupSockAddr}
	return []feature{
		{name: "bpf system call", since: "3.19", option: "CONFIG_BPF_SYSCALL", maps: ebpf.Hash},
		{name: "BPF arrays", since: "3.19", option: "CONFIG_BPF_SYSCALL", maps: ebpf.Array},
		{name: "BPF LRU maps", since: "4.10", maps: ebpf.LRUHash},
		{name: "BPF programs for a cgroup's packets", since: "4.10", option: cgroups, hook: hook{program: ebpf.CGroupSKB}},
		{name: "bpf_skb_load_bytes in cgroup programs", since: "4.10", option: cgroups, helper: asm.FnSkbLoadBytes, in: []ebpf.ProgramType{ebpf.CGroupSKB}},
		{name: "BPF prefix maps", since: "4.11", maps: ebpf.LPMTrie},
		{name: "BPF sockops programs", since: "4.13", option: cgroups, hook: hook{program: ebpf.SockOps}},
		{name: "BPF programs at connect", since: "4.17", option: cgroups, hook: hook{ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect}},
		{name: "BPF programs at connect over IPv6", since: "4.17", option: cgroups, hook: hook{ebpf.CGroupSockAddr, ebpf.AttachCGroupInet6Connect}},
		{name: "bpf_bind", since: "4.17", option: cgroups, helper: asm.FnBind, in: sockAddr},
		{name: "BPF programs at sendmsg", since: "4.18", option: cgroups, hook: hook{ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP4Sendmsg}},
		{name: "BPF programs at sendmsg over IPv6", since: "4.18", option: cgroups, hook: hook{ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP6Sendmsg}},
		{name: "bpf_sk_fullsock", since: "5.1", option: cgroups, helper: asm.FnSkFullsock, in: []ebpf.ProgramType{ebpf.CGroupSKB}},
		{name: "BPF programs at recvmsg", since: "5.2", option: cgroups, hook: hook{ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP4Recvmsg}},
		{name: "BPF programs at recvmsg over IPv6", since: "5.2", option: cgroups, hook: hook{ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP6Recvmsg}},
		{name: "BPF socket storage", since: "5.2", maps: ebpf.SkStorage},
		{name: "bpf_get_netns_cookie", since: "5.7", option: cgroups, helper: asm.FnGetNetnsCookie, in: sockAddr},
		{name: "bpf_get_current_cgroup_id in cgroup programs", since: "5.7", option: cgroups, helper: asm.FnGetCurrentCgroupId, in: sockAddr},
		{name: "bpf_get_current_ancestor_cgroup_id", since: "5.7", option: cgroups, helper: asm.FnGetCurrentAncestorCgroupId, in: sockAddr},
		{name: "bpf_get_current_pid_tgid in cgroup programs", since: "5.7", option: cgroups, helper: asm.FnGetCurrentPidTgid, in: sockAddr},
		{name: "BPF programs at getpeername", since: "5.8", option: cgroups, hook: hook{ebpf.CGroupSockAddr, ebpf.AttachCgroupInet4GetPeername}},
		{name: "BPF programs at getpeername over IPv6", since: "5.8", option: cgroups, hook: hook{ebpf.CGroupSockAddr, ebpf.AttachCgroupInet6GetPeername}},
		{name: "bpf_sk_storage_get in cgroup programs", since: "5.8", option: cgroups, helper: asm.FnSkStorageGet, in: []ebpf.ProgramType{ebpf.CGroupSockAddr, ebpf.CGroupSKB, ebpf.SockOps}},
		{name: "bpf_sk_storage_delete in cgroup programs", since: "5.8", option: cgroups, helper: asm.FnSkStorageDelete, in: sockAddr},
		{name: "bpf_sk_release in cgroup programs", since: "5.8", option: cgroups, helper: asm.FnSkRelease, in: []ebpf.ProgramType{ebpf.CGroupSockAddr, ebpf.CGroupSKB}},
		// Before, with CONFIG_BPF_STREAM_PARSER alone.
		{name: "BPF socket maps", since: "5.13", option: "CONFIG_NET", maps: ebpf.SockMap},
	}
}

// missing reports whether the kernel lacks the feature, as far as it tells.
func (f feature) missing() bool {
	switch {
	case f.maps != ebpf.UnspecifiedMap:
		return errors.Is(features.HaveMapType(f.maps), ebpf.ErrNotSupported)
	case f.hook.program != ebpf.UnspecifiedProgram:
		return errors.Is(f.hook.have(), ebpf.ErrNotSupported)
	}
	for _, t := range f.in {
		if errors.Is(features.HaveProgramHelper(t, f.helper), ebpf.ErrNotSupported) {
			return true
		}
	}
	return false
}

func (h hook) have() error {
	err := features.HaveProgramType(h.program)
	if err != nil || h.at == ebpf.AttachNone {
		return err
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: h.program, AttachType: h.at, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	if errors.Is(err, unix.EINVAL) {
		return ebpf.ErrNotSupported
	}
	if err == nil {
		p.Close()
	}
	return err
}

// explain finds the reason why the kernel refused the programs.
func explain(err error) error {
	var uts unix.Utsname
	release := ""
	if unix.Uname(&uts) == nil {
		release = unix.ByteSliceToString(uts.Release[:])
	}
	return explainFor(err, release, feature.missing)
}

// explainFor is explain for a kernel of that release which lacks what missing says.
func explainFor(err error, release string, missing func(feature) bool) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		return &Unsupported{
			Feature: "permission to load and attach BPF programs",
			Hint:    "run it as root with the capabilities SYS_ADMIN and NET_ADMIN, and seccomp and apparmor unconfined",
			Cause:   err,
		}
	}
	for _, f := range kernelFeatures() {
		if missing(f) {
			return f.unsupported(release, err)
		}
	}
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, link.ErrNotSupported) || errors.Is(err, unix.EINVAL) {
		return &Unsupported{
			Feature: "way to load and attach the programs, though Linux " + release + " has each feature that they need",
			Hint:    "report it with the output of uname -a; another kernel may do",
			Cause:   err,
		}
	}
	return err
}

// unsupported says that a kernel lacks the feature: it is too old, or was built without.
func (f feature) unsupported(release string, cause error) *Unsupported {
	u := &Unsupported{Feature: f.name, Since: f.since, Kernel: release, Cause: cause,
		Hint: "use a newer kernel where the engine runs: 5.15 has all that is needed"}
	if !f.tooOld(release) && f.option != "" {
		u.Option = f.option
		u.Hint = "use a kernel that was built with " + f.option + " where the engine runs; those of distributions are"
	}
	return u
}

// tooOld reports whether a release is from before the feature, and true where that can't
// be told.
func (f feature) tooOld(release string) bool {
	major, minor, ok := version(release)
	needMajor, needMinor, _ := version(f.since)
	return !ok || major < needMajor || major == needMajor && minor < needMinor
}

// version reads the first two numbers of a Linux release such as "6.6.87.2-microsoft".
func version(release string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(release, ".")
	second, _, _ := strings.Cut(rest, ".")
	second, _, _ = strings.Cut(second, "-")
	major, err := strconv.Atoi(first)
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.Atoi(second)
	return major, minor, err == nil
}
