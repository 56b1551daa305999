package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/docs"
)

// configSchema is the schema that wiretape init --schema prints.
func configSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(docs.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("wiretape.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("wiretape.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// schemaError is what the schema has against a text, as an editor would see it.
func schemaError(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// readerError is what wiretape compose has against it.
func readerError(t *testing.T, text string) error {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := readConfig(dir)
	return err
}

var takenConfigs = []string{
	``, `# nothing`, `services:`, `services: [chat, 8080]`, `services: []`,
	`hosts: [api.openai.com, "*.anthropic.com", 10.1.2.3, "10.0.0.0/8", "api.example.com:8443", "10.0.0.0/8:5000", "2001:db8::/32"]`,
	`keep_encoding: true`, `keep_encoding: yes`, `keep_encoding:`, `keep_encoding: off`,
	`correlate: [X-Job-Id]`, `upstream_ca: certs/root.pem`, `upstream_ca:`,
	`redact: {headers: [X-S-*], params: [sid], keep_headers: [X-T], keep_params: [key]}`, `redact:`,
	`redact: {members: [ssn, "card_*"], keep_members: [token], keep_bodies: true}`,
	`match: {headers: [X-Tenant, x-shard-*]}`, `match: {headers: }`,
	`noise:`, `noise: {response.body: "$.id"}`, `noise: {response.body: ["$.id", "$..created"], request.body: []}`,
	`noise: {response.header: X-Id, request.header: [A, B], request.query: [ts, 1]}`,
	`noise: {response.sse: [event, data, id, retry, comment, unknown]}`, `noise: {response.sse: id}`, `noise: {response.sse: }`,
	`noise: {response.text: ['\d{2}'], request.text: a+, request.path: ['[0-9a-f]{32}']}`,
	`noise: {cases: }`,
	`noise: {cases: {"0003-*": {response.body: [$.a], response.header: [a], response.sse: [id], response.text: [a], request.body: [$.a], request.header: [a], request.query: [a], request.path: [a], request.text: [a]}, "0004": }}`,
	`llm_formats:`, `llm_formats: []`, `llm_formats: [{name: acme, match: {path: /v1/*, has: $.output}, text: $.output.delta}]`,
	`llm_formats: [{name: acme, match: {has: [$.a, $.b]}, each: "$.outputs[*]", index: $.nr, text: [$.delta], reasoning: $.r, finish: $.f, usage: $.u}]`,
	`llm_formats: [{name: acme, match: {path: "*"}, tool: {each: "$.calls[*]", index: $.i, name: $.n, arguments: $.a}}]`,
	`shape:`, `shape: {buffered: false, first_event: false, longest_gap: true, pace: {ratio: 1.5, floor: 500ms}}`,
	`shape: {first_event: {ratio: 3}, longest_gap: {floor: 1m0.5s}, pace: {floor: 0}}`, `shape: {first_event: {}}`, `shape: {buffered: no}`,
	`test:`, `test: {headers: {Authorization: "Bearer x", X-N: 1}, time_limit: 2m, parallel: 4, keep_networks: true}`,
	`test: {headers: , time_limit: , parallel: 0}`, `test: {time_limit: 1h30m}`,
}

var refusedConfigs = []string{
	`[]`, `text`, `host: [a]`, `services: chat`, `services: {chat: yes}`, `services: [[a]]`,
	`hosts: a.example.com`, `hosts: ["https://b.example.com"]`, `hosts: ["a b"]`, `hosts: ["a.example.com/x"]`, `hosts: [""]`,
	`keep_encoding: maybe`, `keep_encoding: 1`, `keep_encoding: [true]`, `correlate: X-Job-Id`, `upstream_ca: [a]`,
	`redact: [X-A]`, `redact: {header: [a]}`, `redact: {headers: a}`, `redact: {params: a}`, `redact: {keep_headers: a}`, `redact: {keep_params: a}`, `redact: {members: a}`, `redact: {keep_members: a}`, `redact: {keep_bodies: 1}`,
	`match: {headers: X-A}`, `match: {headers: ["X-A: b"]}`, `match: {headers: [""]}`, `match: {header: [a]}`, `match: [a]`,
	`noise: [a]`, `noise: {response.bodies: [$.a]}`, `noise: {response.body: {a: b}}`, `noise: {response.body: [id]}`, `noise: {request.body: id}`,
	`noise: {response.header: [""]}`, `noise: {request.header: " "}`, `noise: {request.query: [[a]]}`, `noise: {response.text: [""]}`, `noise: {request.text: {a: b}}`, `noise: {request.path: [""]}`,
	`noise: {response.sse: [ids]}`, `noise: {cases: [a]}`, `noise: {cases: {"0003": [a]}}`, `noise: {cases: {"": {}}}`, `noise: {cases: {"0003": {cases: {}}}}`,
	`noise: {cases: {"0003": {response.body: [id]}}}`, `noise: {cases: {"0003": {response.sse: [ids]}}}`,
	`llm_formats: {name: a}`, `llm_formats: [{match: {path: /}, text: $.a}]`, `llm_formats: [{name: a, text: $.a}]`, `llm_formats: [{name: a, match: {}, text: $.a}]`,
	`llm_formats: [{name: a, match: {path: /}}]`, `llm_formats: [{name: a, match: {path: v1}, text: $.a}]`, `llm_formats: [{name: a, match: {paths: /}, text: $.a}]`,
	`llm_formats: [{name: a, match: {path: /}, text: a}]`, `llm_formats: [{name: a, match: {path: /}, text: []}]`, `llm_formats: [{name: " ", match: {path: /}, text: $.a}]`,
	`llm_formats: [{name: a, match: {path: /}, text: $.a, usages: $.u}]`, `llm_formats: [{name: a, match: {has: a}, text: $.a}]`,
	`llm_formats: [{name: a, match: {path: /}, tool: {name: $.n}}]`, `llm_formats: [{name: a, match: {path: /}, tool: {name: [$.n, $.m], arguments: $.a}}]`,
	`llm_formats: [{name: a, match: {path: /}, tool: {name: $.n, arguments: $.a, id: $.i}}]`, `llm_formats: [{name: a, match: {path: /}, tool: $.n}]`,
	`llm_formats: [{name: a, match: {path: /}, text: $.a, each: a}]`, `llm_formats: [{name: a, match: {path: /}, text: $.a, index: a}]`,
	`llm_formats: [{name: a, match: {path: /}, text: $.a, reasoning: a}]`, `llm_formats: [{name: a, match: {path: /}, text: $.a, finish: a}]`, `llm_formats: [{name: a, match: {path: /}, text: $.a, usage: a}]`,
	`llm_formats: [{name: a, match: {path: /}, tool: {name: $.n, arguments: $.a, each: b, index: c}}]`,
	`shape: [a]`, `shape: {bufferd: false}`, `shape: {buffered: 2}`, `shape: {buffered: []}`, `shape: {first_event: 3}`, `shape: {first_event: often}`, `shape: {longest_gap: [a]}`,
	`shape: {pace: {ratio: 0.5}}`, `shape: {pace: {ratio: fast}}`, `shape: {pace: {floor: 500}}`, `shape: {pace: {floor: -1s}}`, `shape: {pace: {flor: 1s}}`,
	`test: [a]`, `test: {header: {}}`, `test: {headers: [a]}`, `test: {headers: {a: [b]}}`, `test: {time_limit: 120}`, `test: {time_limit: fast}`, `test: {time_limit: -2m}`,
	`test: {parallel: -1}`, `test: {parallel: many}`, `test: {parallel: 2.5}`, `test: {keep_networks: 2}`,
}

func TestTheSchemaTakesWhatTheReaderTakes(t *testing.T) {
	s := configSchema(t)
	for _, text := range takenConfigs {
		if err := readerError(t, text); err != nil {
			t.Errorf("the reader refuses %s: %v", text, err)
		}
		if err := schemaError(t, s, text); err != nil {
			t.Errorf("the schema refuses %s: %v", text, err)
		}
	}
}

func TestTheSchemaRefusesWhatTheReaderRefuses(t *testing.T) {
	s := configSchema(t)
	for _, text := range refusedConfigs {
		if readerError(t, text) == nil {
			t.Errorf("the reader takes %s", text)
		}
		if schemaError(t, s, text) == nil {
			t.Errorf("the schema takes %s", text)
		}
	}
}

// Syntax of other languages, and what one value says of another, are beyond a schema.
func TestOnlyTheReaderKnowsOtherLanguages(t *testing.T) {
	s := configSchema(t)
	for _, text := range []string{
		`noise: {response.body: ["$["]}`, `noise: {response.text: ["("]}`, `noise: {response.text: ["a*"]}`, `noise: {cases: {"[": {}}}`,
		`match: {headers: ["["]}`, `hosts: ["a:b:c"]`, `hosts: ["a.example.com:99999"]`,
		`llm_formats: [{name: gemini, match: {path: /}, text: $.a}]`, `llm_formats: [{name: a, match: {path: "/["}, text: $.a}]`,
	} {
		if readerError(t, text) == nil {
			t.Errorf("the reader takes %s", text)
		}
		if err := schemaError(t, s, text); err != nil {
			t.Errorf("the schema refuses %s, which is one for the table of both: %v", text, err)
		}
	}
}

// Each key of the schema is in a text that is taken and in one that is refused, so that none
// can be in the schema alone.
func TestEachKeyOfTheSchemaIsTried(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal([]byte(docs.Schema), &schema); err != nil {
		t.Fatal(err)
	}
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				visit(e)
			}
		case map[string]any:
			for name, e := range v {
				if keys, ok := e.(map[string]any); ok && name == "properties" {
					for key := range maps.Keys(keys) {
						said := regexp.MustCompile(`(^|[{ ])` + regexp.QuoteMeta(key) + `:`)
						if !slices.ContainsFunc(takenConfigs, said.MatchString) || !slices.ContainsFunc(refusedConfigs, said.MatchString) {
							t.Errorf("%s is not tried both ways", key)
						}
					}
				}
				visit(e)
			}
		}
	}
	visit(schema)
}

// Each key of the reader's own struct is in the schema.
func TestEachKeyOfTheReaderIsInTheSchema(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"properties"`
	}
	if err := json.Unmarshal([]byte(docs.Schema), &schema); err != nil {
		t.Fatal(err)
	}
	for f := range reflect.TypeFor[config]().Fields() {
		key := f.Tag.Get("yaml")
		if key == "" {
			continue
		}
		at, ok := schema.Properties[key]
		if !ok {
			t.Errorf("%s is not in the schema", key)
		}
		if f.Type.Kind() != reflect.Struct || f.Type == reflect.TypeFor[yaml.Node]() {
			continue
		}
		for inner := range f.Type.Fields() {
			if name := inner.Tag.Get("yaml"); at.Properties[name] == nil {
				t.Errorf("%s.%s is not in the schema", key, name)
			}
		}
	}
}

// What wiretape init writes is empty for the reader, and each of its examples can be taken.
func TestWhatInitWritesCanBeUncommented(t *testing.T) {
	s := configSchema(t)
	for _, f := range []found{{Schema: schemaURL()}, {Schema: schemaURL(), Services: []string{"app", "db"}, Hosts: []string{"api.example.com", "b.example.com"}}} {
		text, err := f.configText()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
				t.Errorf("%q is more than a comment", line)
			}
		}
		uncommented := regexp.MustCompile(`(?m)^#([^ \n]| {2})`).ReplaceAllString(text, "$1")
		for _, text := range []string{text, uncommented} {
			if err := readerError(t, text); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
			if err := schemaError(t, s, text); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
		}
		if !strings.Contains(uncommented, "\nnoise:\n  response.body:") {
			t.Errorf("the examples are not examples:\n%s", uncommented)
		}
	}
}
