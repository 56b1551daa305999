package compose

import (
	"fmt"
	"sync"

	"github.com/wiretape/wiretape/compose/session"
)

// An adoption says where containers must be born that the override does not put into
// the session's cgroup; see apiProxy.
type adoption struct {
	env      *session.Env
	services services

	mu       sync.Mutex
	reported map[string]bool // services that the user was told of
}

// adopt says where a container of a service must be born, and how it is marked. A
// service that the session does not know is one of a profile that is not enabled: in a
// test it has no agent to be led to, so that what it asks of the outside is refused.
func (a *adoption) adopt(service string) (parent string, labels map[string]string) {
	mark := map[string]string{session.LabelSession: a.env.State.Session}
	targets := a.services.layout.targets
	for _, t := range targets {
		if t.Name == service {
			return t.Parent, mark
		}
	}
	if _, known := a.services.Services[service]; known || service == "" {
		return "", nil // its network is nobody's, or it is not asked to be recorded
	}
	what := "it is not recorded"
	if a.env.Options.Isolates() {
		what = "it reaches nothing outside the project"
		_, parent = a.env.State.ServiceCgroup(len(targets))
	}
	if a.first(service) {
		a.env.Report(session.Warn, fmt.Sprintf("service %s was started, but its profile is not enabled in the session: %s", service, what),
			"enable it with --profile")
	}
	if parent == "" {
		return "", nil
	}
	return parent, mark
}

// first reports whether the service was not told of before.
func (a *adoption) first(service string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	reported := a.reported[service]
	a.reported[service] = true
	return !reported
}
