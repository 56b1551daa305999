package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// configName is the file beside the compose file that says what flags need not repeat.
const configName = "wiretape.yaml"

// A config is wiretape.yaml; docs/configuration.md describes it. A flag wins over it.
type config struct {
	// Services are the services to record; empty means all.
	Services []string `yaml:"services"`
	// Hosts are the patterns of --host.
	Hosts []string `yaml:"hosts"`
	// KeepEncoding lets servers compress, as --keep-encoding does.
	KeepEncoding bool         `yaml:"keep_encoding"`
	UpstreamCA   string       `yaml:"upstream_ca"` // relative to the file
	Redact       redactConfig `yaml:"redact"`
}

type redactConfig struct {
	Headers     []string `yaml:"headers"`
	Params      []string `yaml:"params"`
	KeepHeaders []string `yaml:"keep_headers"`
	KeepParams  []string `yaml:"keep_params"`
}

func (r redactConfig) rules() tape.RedactRules {
	return tape.RedactRules{Headers: r.Headers, Params: r.Params, KeepHeaders: r.KeepHeaders, KeepParams: r.KeepParams}
}

// readConfig reads wiretape.yaml in dir; a folder without one has an empty one.
func readConfig(dir string) (config, error) {
	var c config
	file := filepath.Join(dir, configName)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	const hint = "docs/configuration.md lists what can stand in it"
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, usagef(hint, "%s: %w", file, err)
	}
	if _, err := proxy.ParseHosts(c.Hosts); err != nil {
		return c, usagef(hint, "%s: hosts: %w", file, err)
	}
	if c.UpstreamCA != "" && !filepath.IsAbs(c.UpstreamCA) {
		c.UpstreamCA = filepath.Join(dir, c.UpstreamCA)
	}
	return c, nil
}

// composeDir is the folder of the compose file that the flags choose: where
// tapes and wiretape.yaml are.
func composeDir(projectDir string, files []string) (string, error) {
	switch {
	case projectDir != "":
		return projectDir, nil
	case len(files) > 0 && files[0] != "-":
		return filepath.Dir(files[0]), nil
	}
	if env := filepath.SplitList(os.Getenv("COMPOSE_FILE")); len(env) > 0 {
		return filepath.Dir(env[0]), nil
	}
	// As docker compose looks for it: here, then in each folder above.
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		for _, name := range []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				if rel, err := filepath.Rel(wd, dir); err == nil {
					return rel, nil
				}
				return dir, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no compose file here")
		}
	}
}
