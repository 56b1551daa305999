package compose

import "fmt"

// adopt says where a container of a service must be born that the override does not
// put into the session's cgroup; see apiProxy. A service that the session does not
// know is one of a profile that is not enabled: in a test it has no agent to be led
// to, so that what it asks of the outside is refused.
func (s *Session) adopt(service string) (parent string, labels map[string]string) {
	mark := map[string]string{labelSession: s.state.Session}
	for _, t := range s.layout.targets {
		if t.Name == service {
			return t.Parent, mark
		}
	}
	if _, known := s.project.Services[service]; known || service == "" {
		return "", nil // its network is nobody's, or it is not asked to be recorded
	}
	s.mu.Lock()
	told := s.strangers[service]
	if s.strangers == nil {
		s.strangers = make(map[string]bool)
	}
	s.strangers[service] = true
	s.mu.Unlock()
	what := "it is not recorded"
	if s.opt.fenced() {
		what = "it reaches nothing outside the project"
		_, parent = s.state.serviceCgroup(len(s.layout.targets))
	}
	if !told {
		s.opt.progress(Warn, fmt.Sprintf("service %s was started, but its profile is not enabled in the session: %s", service, what),
			"enable it with --profile")
	}
	if parent == "" {
		return "", nil
	}
	return parent, mark
}
