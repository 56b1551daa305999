package compose

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/wiretape/wiretape/compose/agent"
)

// An apiProxy is the engine's API as docker compose and the user's command have
// it while a session runs. It hides the containers that were set aside, which
// docker compose would take for the project's, and shows the published ports
// that the agent took over as those of the services' containers. All else
// passes unchanged.
type apiProxy struct {
	server *http.Server
	socket string
	url    string // of the socket, as DOCKER_HOST has it
	client *http.Transport

	project string
	hidden  map[string]bool // IDs
	// adopt says which cgroup a container of a service must be born in that docker
	// compose would make outside the session's, and the labels to mark it with.
	// Empty leaves it alone.
	adopt func(service string) (parent string, labels map[string]string)

	mu        sync.Mutex
	published []agent.Ingress
}

// startAPIProxy serves the engine that dial connects to on a socket in dir.
func startAPIProxy(dir string, dial func(context.Context) (net.Conn, error), project string, aside []Container,
	adopt func(service string) (parent string, labels map[string]string),
) (*apiProxy, error) {
	p := &apiProxy{project: project, adopt: adopt, hidden: make(map[string]bool)}
	p.socket, p.url = socketIn(dir)
	for _, c := range aside {
		p.hidden[c.ID] = true
	}
	l, err := listenLocal(p.socket)
	if err != nil {
		return nil, err
	}
	p.client = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }, DisableCompression: true}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "docker"
			r.Out.Host = "docker"
		},
		Transport: p.client, FlushInterval: -1, ModifyResponse: p.modify,
		// What fails, the client says as well.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	p.server = &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && createPath.MatchString(r.URL.Path) {
			if err := p.changeCreate(r); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		forward.ServeHTTP(w, r)
	})}
	go func() { _ = p.server.Serve(l) }() // ends with Close
	return p, nil
}

func (p *apiProxy) close() {
	if p == nil {
		return
	}
	p.server.Close()
	p.client.CloseIdleConnections()
	os.Remove(p.socket)
}

// env makes docker use the proxy.
func (p *apiProxy) env() []string {
	if p == nil {
		return nil
	}
	return []string{"DOCKER_HOST=" + p.url, "DOCKER_CONTEXT=", "DOCKER_TLS=", "DOCKER_TLS_VERIFY=", "DOCKER_CERT_PATH="}
}

// publish tells which ports the agent took over.
func (p *apiProxy) publish(ports []agent.Ingress) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.published = ports
}

var (
	listPath    = regexp.MustCompile(`^(/v[0-9.]+)?/containers/json$`)
	createPath  = regexp.MustCompile(`^(/v[0-9.]+)?/containers/create$`)
	inspectPath = regexp.MustCompile(`^(/v[0-9.]+)?/containers/[^/]+/json$`)
)

// modify changes the answers that list or describe containers.
func (p *apiProxy) modify(resp *http.Response) error {
	change := p.changeList
	switch path := resp.Request.URL.Path; {
	case resp.Request.Method != http.MethodGet || resp.StatusCode != http.StatusOK:
		return nil
	case listPath.MatchString(path):
	case inspectPath.MatchString(path):
		change = p.changeInspect
	default:
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return err
	}
	if changed, err := change(body); err == nil { // else it is none of what we know
		body = changed
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	resp.TransferEncoding = nil
	return nil
}

type object = map[string]json.RawMessage

// changeCreate has a container of the project's born in the session, also one that
// the override does not know: of a service whose profile is inactive, or one that
// docker compose makes beside a service's own (pre_start).
func (p *apiProxy) changeCreate(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		return err
	}
	if changed, err := p.adopted(body); err == nil { // else the engine says what is wrong
		body = changed
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength, r.TransferEncoding = int64(len(body)), nil
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

func (p *apiProxy) adopted(body []byte) ([]byte, error) {
	var c, host object
	var labels map[string]string
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(c["Labels"], &labels); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(c["HostConfig"], &host); err != nil {
		return nil, err
	}
	if labels[composeProject] != p.project {
		return body, nil
	}
	var now string
	_ = json.Unmarshal(host["CgroupParent"], &now)
	parent, mark := p.adopt(labels[composeService])
	if parent == "" || parent == now {
		return body, nil
	}
	for name, value := range mark {
		labels[name] = value
	}
	host["CgroupParent"] = mustJSON(parent)
	c["HostConfig"], c["Labels"] = mustJSON(host), mustJSON(labels)
	return json.Marshal(c)
}

func (p *apiProxy) changeList(body []byte) ([]byte, error) {
	var list []object
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	out := make([]object, 0, len(list))
	for _, c := range list {
		var id string
		if _ = json.Unmarshal(c["Id"], &id); p.hidden[id] {
			continue
		}
		var labels map[string]string
		var ports []json.RawMessage
		_ = json.Unmarshal(c["Labels"], &labels)
		_ = json.Unmarshal(c["Ports"], &ports)
		for _, port := range p.portsOf(labels) {
			host, number := port.host()
			ports = append(ports, mustJSON(map[string]any{"IP": host, "PrivatePort": port.Port, "PublicPort": number, "Type": "tcp"}))
		}
		if len(ports) > 0 {
			c["Ports"] = mustJSON(ports)
		}
		out = append(out, c)
	}
	return json.Marshal(out)
}

func (p *apiProxy) changeInspect(body []byte) ([]byte, error) {
	var c, config, settings object
	if err := cmp.Or(json.Unmarshal(body, &c), json.Unmarshal(c["Config"], &config), json.Unmarshal(c["NetworkSettings"], &settings)); err != nil {
		return nil, err
	}
	var labels map[string]string
	ports := make(map[string][]map[string]string)
	if err := cmp.Or(json.Unmarshal(config["Labels"], &labels), json.Unmarshal(settings["Ports"], &ports)); err != nil {
		return nil, err
	}
	own := p.portsOf(labels)
	if len(own) == 0 {
		return body, nil
	}
	if ports == nil {
		ports = make(map[string][]map[string]string)
	}
	for _, port := range own {
		host, number := port.host()
		key := strconv.Itoa(port.Port) + "/tcp"
		ports[key] = append(ports[key], map[string]string{"HostIp": host, "HostPort": strconv.Itoa(number)})
	}
	settings["Ports"] = mustJSON(ports)
	c["NetworkSettings"] = mustJSON(settings)
	return json.Marshal(c)
}

type takenPort agent.Ingress

// host is the address and the port of the host that lead to it.
func (t takenPort) host() (string, int) {
	host, port, _ := net.SplitHostPort(t.Published)
	if host == "localhost" {
		host = "0.0.0.0"
	}
	n, _ := strconv.Atoi(port)
	return host, n
}

// portsOf are the ports that the agent took over from a container: of those of
// a service, the n-th container has the n-th that leads to the same port.
func (p *apiProxy) portsOf(labels map[string]string) []takenPort {
	if labels[composeProject] != p.project || !isReplica(labels) {
		return nil
	}
	number := max(1, atoi(labels[composeNumber]))
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []takenPort
	seen := make(map[int]int)
	replicas := make(map[int]int)
	for _, i := range p.published {
		if i.Service == labels[composeService] {
			replicas[i.Port]++
		}
	}
	for _, i := range p.published {
		if i.Service != labels[composeService] {
			continue
		}
		seen[i.Port]++
		if seen[i.Port] == number || replicas[i.Port] == 1 && number == 1 {
			out = append(out, takenPort(i))
		}
	}
	return slices.Clip(out)
}

func atoi(s string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(s))
	return n
}

func mustJSON(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was read as JSON, or is made of strings and numbers
	}
	return data
}
