package tape

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

func encodeManifest(m *Manifest) []byte {
	w := &yamlWriter{}
	w.b = append(w.b, "# Made by wiretape; wiretape help tape-format says what everything means.\n"...)
	w.integer("version", int64(m.Version))
	w.raw("created", m.Created.UTC().Format(time.RFC3339Nano))
	w.text("by", m.By)
	w.textIf("project", m.Project)
	w.texts("services", m.Services)
	w.raw("complete", strconv.FormatBool(m.Complete))
	w.texts("problems", m.Problems)
	if len(m.Opaque) > 0 {
		w.mapping("opaque", func() {
			for _, o := range m.Opaque {
				w.item(func() {
					w.textIf("service", o.Service)
					w.text("address", o.Address)
					w.text("reason", o.Reason)
					w.integer("count", int64(o.Count))
					if o.Bytes > 0 {
						w.integer("bytes", o.Bytes)
					}
					if o.HTTP {
						w.raw("http", "true")
					}
				})
			}
		})
	}
	if len(m.Names) > 0 {
		w.mapping("names", func() {
			for _, n := range m.Names {
				w.item(func() {
					w.text("name", n.Name)
					w.text("type", n.Type)
					w.text("rcode", n.RCode)
					w.texts("answers", n.Answers)
				})
			}
		})
	}
	return w.b
}

// decodeManifest reads tape.yaml; dir and file name the tape and the file in errors.
func decodeManifest(data []byte, dir, file string) (Manifest, error) {
	r := &yamlReader{file: file}
	root := r.document(data)
	if r.err != nil {
		return Manifest{}, r.err
	}
	if v := manifestVersion(root); v > Version {
		return Manifest{}, &FormatError{
			File: file,
			Msg:  fmt.Sprintf("tape %s is format %d, this wiretape reads up to %d: upgrade wiretape", dir, v, Version),
			Hint: "upgrade wiretape, or record the tape again",
		}
	}
	f := r.mapping(root, "tape.yaml", "version", "created", "by", "project", "services",
		"complete", "problems", "opaque", "names")
	f.require("version", "created", "complete")
	m := Manifest{
		Version:  int(f.integer("version", 1, Version)),
		By:       f.text("by"),
		Project:  f.text("project"),
		Services: f.texts("services"),
		Complete: f.flag("complete"),
		Problems: f.texts("problems"),
	}
	created, err := time.Parse(time.RFC3339Nano, f.text("created"))
	if n := f.at["created"]; n != nil && err != nil {
		r.fail(n.Line, "created is %q: expected a time such as 2006-01-02T15:04:05Z", clip(n.Value, 40))
	}
	m.Created = created.UTC()
	for _, n := range f.list("opaque") {
		o := r.mapping(n, "an entry of opaque", opaqueKeys(m.Version)...)
		o.require("address", "reason")
		m.Opaque = append(m.Opaque, Opaque{
			Service: o.text("service"), Address: o.text("address"), Reason: o.text("reason"),
			Count: int(o.integer("count", 0, math.MaxInt32)),
			Bytes: o.integer("bytes", 0, math.MaxInt64), HTTP: o.flag("http"),
		})
	}
	for _, n := range f.list("names") {
		a := r.mapping(n, "an entry of names", "name", "type", "rcode", "answers")
		a.require("name", "type", "rcode")
		m.Names = append(m.Names, Name{
			Name: a.text("name"), Type: a.text("type"), RCode: a.text("rcode"), Answers: a.texts("answers"),
		})
	}
	if r.err != nil {
		return Manifest{}, r.err
	}
	return m, nil
}

// opaqueKeys are those that an entry of opaque may have in a version of the format.
func opaqueKeys(version int) []string {
	keys := []string{"service", "address", "reason", "count"}
	if version >= 2 {
		keys = append(keys, "bytes", "http")
	}
	return keys
}

// manifestVersion finds the version before anything else is looked at, because a
// newer format may have changed everything else. It returns 0 if there is none.
func manifestVersion(root *yaml.Node) int {
	if root.Kind != yaml.MappingNode {
		return 0
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "version" {
			v, _ := strconv.Atoi(strings.TrimSpace(root.Content[i+1].Value))
			return v
		}
	}
	return 0
}
