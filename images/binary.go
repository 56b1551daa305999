package images

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"

	"github.com/wiretape/wiretape/images/agents"
)

// A Binary is a static Linux executable of wiretape. It is read again each time
// that it is needed, and never held in memory.
type Binary struct {
	Arch   string // as GOARCH
	Digest string // SHA-256, hexadecimal
	Size   int64  // bytes
	open   func() (io.ReadCloser, error)
}

// AgentBinary returns the agent for an engine's architecture, named as GOARCH or
// as uname and the engine's API name it. It is this very program where that is a
// static Linux executable of the same architecture, and else one of those that
// release builds carry (see package agents).
func AgentBinary(arch string) (*Binary, error) {
	arch = NormalizeArch(arch)
	var selfErr error
	if runtime.GOOS == "linux" && runtime.GOARCH == arch {
		// The file that runs, also after it was replaced or removed on disk.
		b, err := openBinary("/proc/self/exe", os.Args[0])
		if err == nil {
			return b, nil
		}
		selfErr = fmt.Errorf("this program can't be the agent: %w", err)
	}
	b, err := newBinary(arch, func() (io.ReadCloser, error) { return agents.Open(arch) })
	switch {
	case err == nil:
		return b, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the agent for linux/%s: %w", arch, err)
	case selfErr != nil:
		return nil, selfErr
	default:
		return nil, fmt.Errorf("this build of wiretape for %s/%s carries no agent for an engine on linux/%s; "+
			"use a release build, or run: make cross", runtime.GOOS, runtime.GOARCH, arch)
	}
}

// OpenBinary returns an executable file as an agent's binary. Its architecture
// is read from the file.
func OpenBinary(file string) (*Binary, error) {
	return openBinary(file, file)
}

func openBinary(file, shown string) (*Binary, error) {
	arch, err := inspect(file, shown)
	if err != nil {
		return nil, err
	}
	return newBinary(arch, func() (io.ReadCloser, error) { return os.Open(file) })
}

func newBinary(arch string, open func() (io.ReadCloser, error)) (*Binary, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return nil, err
	}
	return &Binary{Arch: arch, Digest: hex.EncodeToString(h.Sum(nil)), Size: n, open: open}, nil
}

// inspect returns the architecture of a static Linux executable, which errors
// call by the name shown. An image from scratch has no program interpreter that
// could start a dynamic one.
func inspect(file, shown string) (arch string, err error) {
	f, err := elf.Open(file)
	if err != nil {
		if _, ok := errors.AsType[*elf.FormatError](err); ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "", fmt.Errorf("%s is not a Linux executable: %w", shown, err)
		}
		return "", err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s is linked dynamically, and the agent's image has no libraries; "+
				"build it with CGO_ENABLED=0, or run: make build", shown)
		}
	}
	arch = machineArch(f.FileHeader)
	if arch == "" {
		return "", fmt.Errorf("%s is for an unknown machine, %v", shown, f.Machine)
	}
	return arch, nil
}

func machineArch(h elf.FileHeader) string {
	switch h.Machine {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_AARCH64:
		return "arm64"
	case elf.EM_386:
		return "386"
	case elf.EM_ARM:
		return "arm"
	case elf.EM_RISCV:
		return "riscv64"
	case elf.EM_S390:
		return "s390x"
	case elf.EM_PPC64:
		if h.Data == elf.ELFDATA2LSB {
			return "ppc64le"
		}
		return "ppc64"
	default:
		return ""
	}
}

// NormalizeArch turns an architecture as uname -m and the engine's API say it
// into its GOARCH. Others are returned as they are.
func NormalizeArch(arch string) string {
	switch arch {
	case "x86_64", "x86-64":
		return "amd64"
	case "aarch64", "armv8l":
		return "arm64"
	case "i386", "i686":
		return "386"
	case "armv7l", "armv6l":
		return "arm"
	default:
		return arch
	}
}
