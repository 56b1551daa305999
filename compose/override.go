package compose

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/wiretape/wiretape/compose/session"
	mitmtls "github.com/wiretape/wiretape/tls"
	"go.yaml.in/yaml/v3"
)

// trustKey is what the override calls the trust volume.
const trustKey = "wiretape-trust"

// An overrideFile is the generated compose file that is passed behind the user's.
type overrideFile struct {
	Services map[string]overrideService `yaml:"services,omitempty"`
	Networks map[string]overrideNetwork `yaml:"networks,omitempty"`
	Volumes  map[string]overrideVolume  `yaml:"volumes,omitempty"`
}

type overrideService struct {
	CgroupParent string            `yaml:"cgroup_parent,omitempty"`
	Environment  map[string]string `yaml:"environment,omitempty"`
	Labels       map[string]string `yaml:"labels,omitempty"`
	Networks     *yaml.Node        `yaml:"networks,omitempty"`
	Ports        *yaml.Node        `yaml:"ports,omitempty"`
	Volumes      []overrideMount   `yaml:"volumes,omitempty"`
	NetworkMode  *yaml.Node        `yaml:"network_mode,omitempty"`
}

type overrideMount struct {
	Type     string `yaml:"type"`
	Source   string `yaml:"source"`
	Target   string `yaml:"target"`
	ReadOnly bool   `yaml:"read_only"`
	Volume   struct {
		NoCopy bool `yaml:"nocopy"`
	} `yaml:"volume"`
}

type overrideNetwork struct {
	Name     string            `yaml:"name,omitempty"`
	Internal bool              `yaml:"internal,omitempty"`
	Labels   map[string]string `yaml:"labels,omitempty"`
	replaces bool              // all that the user's files say of it
}

type overrideVolume struct {
	Name     string            `yaml:"name,omitempty"`
	External bool              `yaml:"external,omitempty"`
	Labels   map[string]string `yaml:"labels,omitempty"`
}

// override renders the compose file that wires the services to the agent.
// imageEnv has the environment of the services' images, by service.
func (s services) override(state session.State, imageEnv map[string]map[string]string) ([]byte, error) {
	f := overrideFile{
		Services: make(map[string]overrideService),
		Networks: make(map[string]overrideNetwork),
		Volumes:  map[string]overrideVolume{trustKey: {Name: state.Volume(), External: true}},
	}
	mark := map[string]string{session.LabelSession: state.Session}
	for name, svc := range s.Services {
		if svc.Provider == nil {
			o := overrideService{Labels: mark}
			o.Volumes = f.keepAnonymous(svc, s.before)
			f.Services[name] = o
		}
	}
	for _, t := range s.layout.targets {
		svc := s.Services[t.Name]
		merge := mitmtls.MergeEnv(userEnv(svc, imageEnv[t.Name]), t.Trust)
		o := overrideService{
			CgroupParent: t.Parent,
			Environment:  make(map[string]string, len(merge.Env)),
			Labels:       mark,
			Volumes:      append([]overrideMount{{Type: "volume", Source: trustKey, Target: path.Dir(t.Trust), ReadOnly: true}}, f.Services[t.Name].Volumes...),
		}
		o.Volumes[0].Volume.NoCopy = true
		for k, v := range merge.Env {
			o.Environment[k] = escape(v)
		}
		var err error
		if o.Ports, err = s.layout.leftPorts(svc); err != nil {
			return nil, err
		}
		f.Services[t.Name] = o
	}
	if err := s.layout.rewire(s.Project, f.Services); err != nil {
		return nil, err
	}
	for key, n := range s.Networks {
		if n.External {
			continue
		}
		o := overrideNetwork{Internal: s.opt.Isolates()}
		if s.layout.replaced[key] {
			o.Name, o.replaces = n.Name, true
		}
		// What the session makes is known by its label. A network that stays as it
		// is must not get one: compose would make it again.
		if !s.before.hasNetwork(n.Name) || o.Internal && !n.Internal {
			o.Labels = mark
		}
		if o.Internal || o.Labels != nil {
			f.Networks[key] = o
		}
	}
	for key, v := range s.Volumes {
		if !bool(v.External) && !slices.Contains(s.before.Volumes, v.Name) {
			f.Volumes[key] = overrideVolume{Labels: mark}
		}
	}
	// All networks are written out: a service that names none has the default one
	// only as long as it has no other.
	for _, name := range s.layout.crowded {
		o := f.Services[name]
		var err error
		if o.Networks, err = networksOf(s.Services[name], sideKey); err != nil {
			return nil, err
		}
		f.Services[name] = o
		f.Networks[sideKey] = overrideNetwork{Name: state.SideNetwork(), Internal: true, Labels: mark}
	}
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "# Written by wiretape for its session %s, and removed with it.\n", state.Session)
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(f); err != nil {
		return nil, err
	}
	return buf.Bytes(), enc.Close()
}

// keepAnonymous mounts the anonymous volumes of a service's container where it
// has them, as docker compose does when it makes a container again. With several
// containers each would need its own, which a compose file can't say.
func (f *overrideFile) keepAnonymous(s types.ServiceConfig, before Snapshot) []overrideMount {
	if before.scale(s.Name) != 1 {
		return nil
	}
	i := slices.IndexFunc(before.Containers, func(c Container) bool { return c.Service == s.Name })
	anonymous := before.Containers[i].Anonymous
	var mounts []overrideMount
	for n, target := range slices.Sorted(maps.Keys(anonymous)) {
		named := func(v types.ServiceVolumeConfig) bool { return path.Clean(v.Target) == target && v.Source != "" }
		if slices.ContainsFunc(s.Volumes, named) {
			continue // the compose file says otherwise by now
		}
		key := fmt.Sprintf("wiretape-%s-%d", s.Name, n)
		f.Volumes[key] = overrideVolume{Name: anonymous[target], External: true}
		mounts = append(mounts, overrideMount{Type: "volume", Source: key, Target: target})
	}
	return mounts
}

// userEnv is the environment of a service's containers before us.
func userEnv(s types.ServiceConfig, imageEnv map[string]string) map[string]string {
	env := maps.Clone(imageEnv)
	if env == nil {
		env = make(map[string]string)
	}
	for k, v := range s.Environment {
		if v != nil {
			env[k] = *v
		}
	}
	return env
}

// escape keeps compose from replacing variables in s.
func escape(s string) string { return strings.ReplaceAll(s, "$", "$$") }

// leftPorts is what remains of a service's ports: those that the agent does not
// take over. It is nil if it takes none.
func (l *layout) leftPorts(s types.ServiceConfig) (*yaml.Node, error) {
	if !slices.ContainsFunc(l.ingress, func(i session.Port) bool { return i.Service == s.Name }) {
		return nil, nil
	}
	left := []types.ServicePortConfig{}
	for _, port := range s.Ports {
		if !isTCP(port) {
			left = append(left, port)
		}
	}
	node := &yaml.Node{}
	if err := node.Encode(left); err != nil {
		return nil, err
	}
	node.Tag = "!override"
	if len(left) == 0 {
		node.Style = yaml.FlowStyle
	}
	return node, nil
}
