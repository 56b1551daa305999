package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/wiretape/wiretape"

// A room is a package and what it may import of the others. ARCHITECTURE.md draws
// the same graph, and says what each is for.
type room struct {
	may []string
	why string // it may import no more
}

// rooms is the whole graph. A new package needs a line here.
var rooms = map[string]room{
	"bpf":           {why: "a leaf: it knows cgroups and sockets, and nothing of what travels on them"},
	"netns":         {why: "a leaf: it knows namespaces and sockets"},
	"tls":           {why: "a leaf: certificates can be tested without root, Docker or a kernel"},
	"images/agents": {why: "a leaf: files that release builds carry"},
	"docs":          {why: "a leaf: pages that the program carries"},
	"images":        {may: []string{"images/agents"}, why: "it knows executables and the engine's images"},

	"httpstream": {why: "a leaf: the contract knows no protocol, policy or disk"},

	"httpstream/internal/transport": {why: "a leaf: it knows connections, and nothing of what travels on them"},
	"httpstream/relay":              {may: []string{"httpstream", "httpstream/internal/transport"}, why: "what relays share knows no protocol"},
	"httpstream/websocket":          {may: []string{"httpstream"}, why: "frames can be read wherever they come from"},
	"httpstream/http1": {
		may: []string{"httpstream", "httpstream/internal/transport", "httpstream/relay"},
		why: "a protocol on the wire has no policy and no disk",
	},
	"httpstream/http2": {may: []string{"httpstream", "httpstream/internal/transport", "httpstream/relay"}, why: "a protocol on the wire has no policy and no disk"},

	"httpstream/internal/legible": {why: "a leaf: texts for people"},
	"httpstream/jsonvalue":        {may: []string{"httpstream/internal/legible"}, why: "a leaf but for how values are shown: JSON is JSON, whoever reads it"},

	"httpstream/body": {
		may: []string{"httpstream", "httpstream/internal/legible"},
		why: "what the bytes of a body mean does not depend on who asks, or why",
	},

	"httpstream/internal/yamlfile": {why: "a leaf: strict YAML"},
	"httpstream/llm": {
		may: []string{"httpstream/internal/yamlfile", "httpstream/jsonvalue"},
		why: "what a model says in an event does not depend on who asks",
	},
	"httpstream/noise": {
		may: []string{"httpstream/event", "httpstream/internal/legible", "httpstream/internal/yamlfile", "httpstream/jsonvalue"},
		why: "what changes by itself does not depend on how answers are compared",
	},

	"httpstream/protocol": {
		may: []string{"httpstream", "httpstream/http1", "httpstream/http2", "httpstream/relay"},
		why: "the table of protocols knows their packages and nothing else",
	},

	"httpstream/event":   {may: []string{"httpstream"}, why: "what all of them speak depends on none who speaks it"},
	"httpstream/secret":  {why: "what a secret looks like depends on nobody who has one"},
	"httpstream/tape":    {may: []string{"httpstream", "httpstream/jsonvalue", "httpstream/secret", "httpstream/websocket"}, why: "the disk knows what an exchange is, and not who makes or plays one"},
	"httpstream/record":  {may: []string{"httpstream", "httpstream/event", "httpstream/secret", "httpstream/tape", "httpstream/websocket"}, why: "recording does not depend on how a tape is played"},
	"httpstream/match":   {may: []string{"httpstream", "httpstream/body", "httpstream/event", "httpstream/jsonvalue", "httpstream/secret", "httpstream/tape"}, why: "which call answers does not depend on how it is played"},
	"httpstream/compare": {may: []string{"httpstream", "httpstream/body", "httpstream/internal/legible", "httpstream/internal/yamlfile", "httpstream/jsonvalue", "httpstream/llm", "httpstream/noise", "httpstream/secret", "httpstream/tape"}, why: "how answers differ does not depend on where they come from"},
	"httpstream/replay":  {may: []string{"httpstream", "httpstream/event", "httpstream/match", "httpstream/tape", "httpstream/websocket"}, why: "playing does not depend on recording"},
	"httpstream/proxy": {
		may: []string{"httpstream", "httpstream/event", "httpstream/internal/transport", "httpstream/match", "httpstream/protocol", "httpstream/relay", "httpstream/replay", "httpstream/tape", "tls"},
		why: "where a connection goes and how to get there are functions that it is given, so it is tested without root, Docker or a kernel",
	},

	"compose/report": {
		may: []string{"httpstream", "httpstream/compare", "httpstream/event", "httpstream/noise", "httpstream/tape"},
		why: "verdicts are rendered from values, without an engine or a session",
	},
	"compose/agent/runner": {
		may: []string{
			"compose/report", "httpstream", "httpstream/compare", "httpstream/event",
			"httpstream/llm", "httpstream/noise", "httpstream/protocol", "httpstream/proxy", "httpstream/relay", "httpstream/replay", "httpstream/tape",
		},
		why: "sending cases is tested on loopback, without Docker or a kernel",
	},
	"compose/agent": {
		may: []string{"compose/recording", "compose/report", "httpstream/compare", "httpstream/event", "httpstream/tape"},
		why: "the contract between CLI and agent is read by both, and by other systems than Linux",
	},
	"compose/agent/dns": {
		may: []string{"httpstream/tape"},
		why: "how a query reaches its resolver is a function that it is given, so it is tested without a kernel",
	},
	"compose/agent/guard": {
		may: []string{"bpf", "compose/agent", "compose/recording", "httpstream/event", "httpstream/tape", "netns"},
		why: "the half that must not crash knows the hooks and writes what it is given, and knows nothing of what travels through the worker",
	},
	"compose/agent/worker": {
		may: []string{
			"bpf", "compose/agent", "compose/agent/dns", "compose/agent/runner", "compose/report", "httpstream", "httpstream/event",
			"httpstream/llm", "httpstream/match", "httpstream/noise", "httpstream/proxy", "httpstream/record", "httpstream/replay", "httpstream/tape",
			"netns", "tls",
		},
		why: "the worker knows of its start line, and not of projects and plans",
	},
	"compose/agent/program": {
		may: []string{"bpf", "compose/agent", "compose/agent/guard", "compose/agent/worker"},
		why: "it only chooses which of the agent's programs runs",
	},
	"compose/recording": {
		may: []string{"httpstream/event", "httpstream/tape"},
		why: "a tape is written by the same code wherever its folder is",
	},
	"compose/session": {
		may: []string{"compose/agent", "compose/recording", "httpstream/event", "httpstream/tape", "images", "tls"},
		why: "a session knows steps and an agent, and not what its services run in",
	},
	"compose": {
		may: []string{"compose/agent", "compose/recording", "compose/session", "httpstream/event", "images", "tls"},
		why: "it talks with the agent over a line, and leaves the kernel and the wire to it",
	},
	"cmd/wiretape": {
		may: []string{
			"bpf", "compose", "compose/agent", "compose/agent/program", "compose/recording", "compose/report", "docs", "httpstream", "httpstream/body", "httpstream/compare",
			"httpstream/event", "httpstream/jsonvalue", "httpstream/llm", "httpstream/noise", "httpstream/proxy", "httpstream/record", "httpstream/replay", "httpstream/tape",
			"tls",
		},
		why: "it wires and renders; images and namespaces belong to compose and the agent",
	},
}

// owned are modules of others that few rooms may import, by the beginning of
// their path.
var owned = []struct {
	prefix string
	rooms  []string
	why    string
}{
	{"github.com/docker/", []string{"compose", "compose/session", "images"}, "only sessions and images talk with the engine"},
	{"github.com/compose-spec/", []string{"compose"}, "only sessions read compose projects"},
	{"github.com/cilium/ebpf", []string{"bpf"}, "package bpf hides how the hooks are made"},
	{"github.com/godbus/", []string{"bpf"}, "only the makers of cgroups talk with systemd"},
	{"github.com/google/go-containerregistry", []string{"images"}, "only images are made of layers"},
	{"github.com/smallstep/", []string{"tls"}, "package tls hides who signs"},
	{"github.com/urfave/cli", []string{"cmd/wiretape"}, "only the command line has flags"},
	{"github.com/sirupsen/logrus", []string{"cmd/wiretape"}, "rooms return errors and events; the command line decides what is logged"},
}

// A goPackage is what go list says of one.
type goPackage struct {
	ImportPath string
	Dir        string
	Imports    []string
}

// listPackages lists the module's packages as they are built for Linux, where
// each of them has all its files.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports", module+"/...")
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var list []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// roomOf is the path of a package in the module; false for those of others, and
// for the programs in dev, which are no part of wiretape.
func roomOf(importPath string) (string, bool) {
	name, ok := strings.CutPrefix(importPath, module+"/")
	return name, ok && !strings.HasPrefix(name, "dev/")
}

func TestRoomsImportOnlyWhatTheGraphAllows(t *testing.T) {
	found := map[string][]string{}
	for _, p := range listPackages(t) {
		name, ok := roomOf(p.ImportPath)
		if !ok {
			continue
		}
		found[name] = p.Imports
		r, known := rooms[name]
		if !known {
			t.Errorf("%s is not in the graph: say in rooms what it may import, and draw it in ARCHITECTURE.md", name)
			continue
		}
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, module+"/dev/") {
				t.Errorf("%s imports %s, which is for development only", name, imported)
			}
			if other, ok := roomOf(imported); ok && !slices.Contains(r.may, other) {
				t.Errorf("%s imports %s, but %s", name, other, r.why)
			}
		}
	}
	for name, r := range rooms {
		imports, ok := found[name]
		if !ok {
			t.Errorf("%s is in the graph, and there is no such package", name)
			continue
		}
		for _, other := range r.may {
			if _, ok := rooms[other]; !ok {
				t.Errorf("%s may import %s, which is not in the graph", name, other)
			} else if !slices.Contains(imports, module+"/"+other) {
				t.Errorf("%s may import %s, and does not: take it out of the graph", name, other)
			}
		}
	}
}

func TestOnlyTheOwnersOfAModuleImportIt(t *testing.T) {
	used := map[string]bool{} // prefix and room
	for _, p := range listPackages(t) {
		name, ok := roomOf(p.ImportPath)
		if !ok {
			continue
		}
		for _, imported := range p.Imports {
			for _, o := range owned {
				if !strings.HasPrefix(imported, o.prefix) {
					continue
				}
				used[o.prefix+" "+name] = true
				if !slices.Contains(o.rooms, name) {
					t.Errorf("%s imports %s, but %s", name, imported, o.why)
				}
			}
		}
	}
	for _, o := range owned {
		for _, name := range o.rooms {
			if !used[o.prefix+" "+name] {
				t.Errorf("%s may import %s, and does not: take it out of the owners", name, o.prefix)
			}
		}
	}
}

func TestEachPackageHasOnePackageComment(t *testing.T) {
	for _, p := range listPackages(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var documented []string
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Error(err)
				continue
			}
			if f.Doc != nil {
				documented = append(documented, filepath.Base(file))
			}
		}
		if len(documented) != 1 {
			t.Errorf("%s: a package has one package comment, and it is in %q", p.ImportPath, documented)
		}
	}
}
