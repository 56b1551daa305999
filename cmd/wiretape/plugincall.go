package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// pluginFile is what docker calls a CLI plugin that it runs as "docker wiretape".
const pluginFile = "docker-wiretape"

// pluginMetadataVerb is how docker asks what a plugin is.
const pluginMetadataVerb = "docker-cli-plugin-metadata"

// pluginSocket names the socket that docker holds open while the plugin is to run.
const pluginSocket = "DOCKER_CLI_PLUGIN_SOCKET"

// pluginMetadata is the answer; docker takes no plugin without a vendor.
type pluginMetadata struct {
	SchemaVersion    string
	Vendor           string
	Version          string
	ShortDescription string
	URL              string
}

const pluginVendor = "The wiretape project"

// calledByDocker tells whether the program runs under its name as a plugin.
func calledByDocker(args []string) bool {
	return len(args) > 0 && strings.TrimSuffix(filepath.Base(args[0]), ".exe") == pluginFile
}

func printPluginMetadata(w io.Writer) error {
	return json.NewEncoder(w).Encode(pluginMetadata{
		SchemaVersion: "0.1.0", Vendor: pluginVendor, Version: version,
		ShortDescription: "Record the streams of a compose app, play them back offline",
		URL:              "https://github.com/wiretape/wiretape",
	})
}

// dockerFlags are the flags that may stand between "docker" and the plugin's name, and
// the variables that mean the same to the programs that wiretape runs.
var dockerFlags = []struct {
	names []string
	env   string // empty for what has none
	value bool
	unset string // which would win
}{
	{names: []string{"--config"}, env: "DOCKER_CONFIG", value: true},
	{names: []string{"--context", "-c"}, env: "DOCKER_CONTEXT", value: true, unset: "DOCKER_HOST"},
	{names: []string{"--host", "-H"}, env: "DOCKER_HOST", value: true},
	{names: []string{"--debug", "-D"}, env: "WIRETAPE_DEBUG"},
	{names: []string{"--tls"}, env: "DOCKER_TLS"},
	{names: []string{"--tlsverify"}, env: "DOCKER_TLS_VERIFY"},
	{names: []string{"--log-level", "-l"}, value: true},
}

// pluginArgs makes wiretape's own command line of docker's, which passes on its flags and
// the plugin's name as they stand.
func pluginArgs(args []string) ([]string, error) {
	out := []string{"wiretape"}
	rest := args[1:]
	for len(rest) > 0 && strings.HasPrefix(rest[0], "-") && slices.Contains(rest, "wiretape") {
		n, err := takeDockerFlag(rest)
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	switch {
	case len(rest) > 0 && rest[0] == "wiretape":
		rest = rest[1:]
	case len(rest) > 1 && rest[1] == "wiretape" && (rest[0] == completeVerb || rest[0] == completeVerbNoDesc):
		rest = append([]string{rest[0]}, rest[2:]...)
	case len(rest) > 1 && rest[0] == "help" && rest[1] == "wiretape": // docker help wiretape
		rest = append([]string{"--help"}, rest[2:]...)
	}
	return append(out, rest...), nil
}

// takeDockerFlag does as the flag says that args begin with, and returns how many of them it is.
func takeDockerFlag(args []string) (int, error) {
	name, value, joined := strings.Cut(args[0], "=")
	for _, f := range dockerFlags {
		for _, known := range f.names {
			short := len(known) == 2 && f.value && len(name) > 2 && strings.HasPrefix(name, known)
			if name != known && !short {
				continue
			}
			n := 1
			switch {
			case short:
				value = strings.TrimPrefix(args[0], known)
			case f.value && !joined && len(args) > 1:
				value, n = args[1], 2
			case !f.value && !joined:
				value = "1"
			case !f.value && value == "false":
				return n, nil
			}
			if f.env == "" {
				return n, nil
			}
			if f.unset != "" {
				os.Unsetenv(f.unset)
			}
			if err := os.Setenv(f.env, value); err != nil {
				return n, fmt.Errorf("docker's %s: %w", known, err)
			}
			return n, nil
		}
	}
	return 0, usagef("set DOCKER_HOST, DOCKER_CONTEXT or DOCKER_CERT_PATH in its place, or make a context: docker context create --help",
		"docker's %s does not reach wiretape", name)
}

// leftByDocker is closed when docker wants its plugin to end: it tells so with a socket and
// no signal where there is no terminal. Nil if docker has none.
func leftByDocker() <-chan struct{} {
	addr := os.Getenv(pluginSocket)
	os.Unsetenv(pluginSocket) // COMMAND is no plugin
	if addr == "" {
		return nil
	}
	conn, err := net.Dial("unix", addr)
	if err != nil {
		return nil
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		defer conn.Close()
		_, _ = io.Copy(io.Discard, conn)
	}()
	return left
}
