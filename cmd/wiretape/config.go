package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/llm"
	"github.com/wiretape/wiretape/httpstream/noise"
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
	KeepEncoding bool `yaml:"keep_encoding"`
	// Correlate are fields by which a call names its case; see runner.Correlation.
	Correlate  []string     `yaml:"correlate"`
	UpstreamCA string       `yaml:"upstream_ca"` // relative to the file
	Redact     redactConfig `yaml:"redact"`
	Match      matchConfig  `yaml:"match"`
	// Noise is what changes by itself; see noise.Parse.
	Noise yaml.Node `yaml:"noise"`
	// LLMFormats are formats of language models; see llm.Parse.
	LLMFormats yaml.Node `yaml:"llm_formats"`
	// Shape is how much timing may differ; see compare.ParseLimits.
	Shape yaml.Node  `yaml:"shape"`
	Test  testConfig `yaml:"test"`

	dir    string         // where the file is, or would be
	limits compare.Limits // from Shape
}

// path is where the file is, or would be.
func (c *config) path() string { return filepath.Join(c.dir, configName) }

// testConfig is how cases are sent.
type testConfig struct {
	// Headers replace redacted fields of the requests; ${NAME} is taken from the
	// environment.
	Headers map[string]string `yaml:"headers"`
	// TimeLimit bounds each case; 0 means three times its recorded length, and 30 s.
	TimeLimit time.Duration `yaml:"time_limit"`
	// Parallel is how many cases may run at once, of those that did not stream.
	Parallel count `yaml:"parallel"`
	// KeepNetworks leaves networks that are not the project's own as they are, as
	// --keep-networks does.
	KeepNetworks bool `yaml:"keep_networks"`
}

// A count is a whole number; the YAML decoder would cut off what follows the point of others.
type count int

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *count) UnmarshalYAML(n *yaml.Node) error {
	if n.Tag != "!!int" {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %q is no whole number", n.Line, n.Value)}}
	}
	return n.Decode((*int)(c))
}

// expand takes what Headers names from the environment.
func (t testConfig) expand(file string) (map[string]string, error) {
	headers := make(map[string]string, len(t.Headers))
	for name, value := range t.Headers {
		var missing []string
		headers[name] = variable.ReplaceAllStringFunc(value, func(ref string) string {
			key := ref[2 : len(ref)-1]
			v, ok := os.LookupEnv(key)
			if !ok {
				missing = append(missing, key)
			}
			return v
		})
		if len(missing) > 0 {
			return nil, usagef("set it, or remove the line", "%s: test.headers.%s: the environment has no %s", file, name, strings.Join(missing, ", "))
		}
	}
	return headers, nil
}

type redactConfig struct {
	Headers     []string `yaml:"headers"`
	Params      []string `yaml:"params"`
	KeepHeaders []string `yaml:"keep_headers"`
	KeepParams  []string `yaml:"keep_params"`
	Members     []string `yaml:"members"`
	KeepMembers []string `yaml:"keep_members"`
	KeepBodies  bool     `yaml:"keep_bodies"`
}

func (r redactConfig) rules() tape.RedactRules {
	return tape.RedactRules(r)
}

// matchConfig is how calls are found on the tape.
type matchConfig struct {
	// Headers are further request fields that count.
	Headers []string `yaml:"headers"`
}

// A pattern, as all regular expressions, is compiled once.
var (
	variable  = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)
	lineError = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	noField   = regexp.MustCompile(`^field (\S+) not found in type \S+$`)
)

// readConfig reads wiretape.yaml in dir; a folder without one has an empty one.
func readConfig(dir string) (config, error) {
	c := config{dir: dir, limits: compare.DefaultLimits()}
	file := c.path()
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	const hint = "wiretape help configuration lists what can stand in it"
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, usagef(hint, "%w", configError(file, err))
	}
	if _, err := noise.Parse(file, node(&c.Noise)); err != nil {
		return c, usagef(hint, "%w", err)
	}
	if _, err := llm.Parse(file, node(&c.LLMFormats)); err != nil {
		return c, usagef(hint, "%w", err)
	}
	for i, h := range c.Match.Headers {
		if _, err := path.Match(h, ""); err != nil || h == "" || strings.ContainsAny(h, " \t:,;") {
			return c, usagef(hint, "%s:%d: match.headers: %q is no header name; write the name alone, like X-Tenant or x-shard-*", file, itemLine(data, i, "match", "headers"), h)
		}
	}
	if c.limits, err = compare.ParseLimits(file, node(&c.Shape)); err != nil {
		return c, usagef(hint, "%w", err)
	}
	if c.Test.TimeLimit < 0 || c.Test.Parallel < 0 {
		return c, usagef(hint, "%s: test: a negative time_limit or parallel", file)
	}
	for i, h := range c.Hosts {
		if _, err := proxy.ParseHosts([]string{h}); err != nil {
			return c, usagef(hint, "%s:%d: hosts: %w", file, itemLine(data, i, "hosts"), err)
		}
	}
	if c.UpstreamCA != "" && !filepath.IsAbs(c.UpstreamCA) {
		c.UpstreamCA = filepath.Join(dir, c.UpstreamCA)
	}
	return c, nil
}

// node is nil for a key that is not there.
func node(n *yaml.Node) *yaml.Node {
	if n.IsZero() {
		return nil
	}
	return n
}

// itemLine is the line of the i-th item of a list in a YAML file, which the keys lead to.
func itemLine(data []byte, i int, keys ...string) int {
	var n yaml.Node
	if yaml.Unmarshal(data, &n) != nil {
		return 1
	}
	for _, key := range keys {
		var values map[string]yaml.Node
		if n.Decode(&values) != nil {
			return 1
		}
		n = values[key]
	}
	if i >= len(n.Content) {
		return 1
	}
	return n.Content[i].Line
}

// yamlText is a value as YAML, for the agent; empty for a key that is not there.
func yamlText(n *yaml.Node) (string, error) {
	if n.IsZero() {
		return "", nil
	}
	text, err := yaml.Marshal(n)
	return string(text), err
}

// configError puts the file and the line in front of what the YAML decoder says.
func configError(file string, err error) error {
	messages := []string{err.Error()}
	if t := (*yaml.TypeError)(nil); errors.As(err, &t) {
		messages = t.Errors
	}
	var errs []error
	for _, m := range messages {
		at := file
		if found := lineError.FindStringSubmatch(m); found != nil {
			at, m = file+":"+found[1], found[2]
		}
		if found := noField.FindStringSubmatch(m); found != nil {
			m = fmt.Sprintf("there is no key %q here", found[1])
		}
		errs = append(errs, fmt.Errorf("%s: %s", at, m))
	}
	return errors.Join(errs...)
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
	if env := os.Getenv("COMPOSE_FILE"); env != "" {
		separator := cmp.Or(os.Getenv("COMPOSE_PATH_SEPARATOR"), string(filepath.ListSeparator))
		first, _, _ := strings.Cut(env, separator)
		return filepath.Dir(first), nil
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
