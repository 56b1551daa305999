package bpf

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

func TestWhatAKernelLacksIsNamedWithTheVersionThatBroughtIt(t *testing.T) {
	refused := errors.New("program connect4: load program: invalid argument")
	since := map[string]bool{}
	for _, f := range kernelFeatures() {
		lacks := func(g feature) bool { return g.name == f.name }
		since[f.since] = true
		var u *Unsupported
		if err := explainFor(refused, "3.10.0", lacks); !errors.As(err, &u) || u.Feature != f.name || u.Since != f.since || !errors.Is(err, refused) {
			t.Errorf("%s: %v", f.name, err)
		} else if want := "no " + f.name + " (needs Linux " + f.since + ", and this is 3.10.0): "; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q, want %q", err, want)
		}
		// A kernel that is new enough was built without it.
		err := explainFor(refused, "6.6.87.2-microsoft-standard-WSL2", lacks)
		if f.option != "" && !strings.Contains(err.Error(), "(needs "+f.option+", which this Linux 6.6.87.2-microsoft-standard-WSL2 was built without)") {
			t.Errorf("%v", err)
		}
	}
	if len(since) < 5 {
		t.Errorf("only the versions %v are ever named", since)
	}
	for _, err := range []error{ebpf.ErrNotSupported, unix.EINVAL} {
		got := explainFor(err, "6.1.0", func(feature) bool { return false })
		if u := (*Unsupported)(nil); !errors.As(got, &u) || u.Since != "" || !strings.Contains(got.Error(), "6.1.0") {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestEachThingThatTheProgramsUseIsAFeatureThatIsLookedFor(t *testing.T) {
	spec, err := loadRedirect()
	if err != nil {
		t.Fatal(err)
	}
	all := kernelFeatures()
	for name, m := range spec.Maps {
		if !slices.ContainsFunc(all, func(f feature) bool { return f.maps == m.Type }) {
			t.Errorf("map %s: nothing looks for maps of type %v", name, m.Type)
		}
	}
	// What every type of program has; and what is used only where it is there.
	anywhere := []asm.BuiltinFunc{asm.FnMapLookupElem, asm.FnMapUpdateElem, asm.FnGetPrandomU32, asm.FnSetRetval}
	for name, p := range spec.Programs {
		if !slices.ContainsFunc(all, func(f feature) bool {
			return f.hook.program == p.Type && (f.hook.at == p.AttachType || f.hook.at == ebpf.AttachNone)
		}) {
			t.Errorf("program %s: nothing looks for the hook %v", name, p.AttachType)
		}
		for _, in := range p.Instructions {
			fn := asm.BuiltinFunc(in.Constant)
			if in.IsBuiltinCall() && !slices.Contains(anywhere, fn) &&
				!slices.ContainsFunc(all, func(f feature) bool { return f.helper == fn && slices.Contains(f.in, p.Type) }) {
				t.Errorf("program %s: nothing looks for %v in %v", name, fn, p.Type)
			}
		}
	}
}

func TestAKernelThatRunsTheProgramsLacksNothing(t *testing.T) {
	needKernel(t)
	for _, f := range kernelFeatures() {
		if f.missing() {
			t.Errorf("%s is taken for missing", f.name)
		}
	}
	bogus := hook{ebpf.CGroupSockAddr, ebpf.AttachTraceFExit}
	if err := bogus.have(); !errors.Is(err, ebpf.ErrNotSupported) {
		t.Errorf("a hook that no kernel has: %v", err)
	}
}
