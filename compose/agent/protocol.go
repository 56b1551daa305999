// Package agent is the contract between the CLI and the program in wiretape's
// container: the JSON lines that they talk in over that container's standard input and
// output, and what the container has. The program's two halves are the packages guard
// and worker.
//
// The talk, in order:
//
//	agent → CLI   hello     version, and the request for an intermediate certificate
//	CLI → agent   start     everything that the session needs, with the certificate chain
//	agent → CLI   ready     hooks are attached, ports are open: the app may start
//	agent → CLI   record, event, problem …   as things happen
//	CLI → agent   listening, exclude, case …  requests; each is answered by a reply with its ID
//	CLI → agent   saved     how many records are on the tape by now
//	CLI → agent   run       send cases; each is told by a result, and then the request is replied to
//	CLI → agent   stop      end the recording: the agent sends what it holds, then
//	agent → CLI   stopped
//	CLI → agent   cleanup   remove the session's cgroups; answered by a reply
//
// When the CLI's side closes at any point, the agent takes its hooks away,
// removes what cgroups it can and ends. The records that the CLI did not say it
// has saved are then in a file, for whoever undoes the session.
package agent

import (
	"time"

	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// Mode is what the agent does with a call.
type Mode string

const (
	Record Mode = "record"
	Replay Mode = "replay"
)

// OnMiss is what becomes of a call in replay that the tape does not answer.
type OnMiss string

const (
	Fail        OnMiss = "fail"        // it gets a 502; the default
	Passthrough OnMiss = "passthrough" // it goes on to where it was meant to go
	RecordMiss  OnMiss = "record"      // so does it, and is recorded
)

// Open reports whether the outside can be reached.
func (m OnMiss) Open() bool { return m == Passthrough || m == RecordMiss }

// ReadyLine is FromAgent{Ready: true} as it is sent.
const ReadyLine = `{"ready":true}` + "\n"

// Answered is what becomes of a miss that goes on.
func (m OnMiss) Answered() event.Answered {
	if m == RecordMiss {
		return event.Recorded
	}
	return event.Passed
}

// ToAgent is one line from the CLI; exactly one field beside ID is set.
type ToAgent struct {
	// ID is echoed in the reply to a request. 0 for start and stop.
	ID        int64      `json:"id,omitempty"`
	Start     *Start     `json:"start,omitempty"`
	Listening *Listening `json:"listening,omitempty"`
	Exclude   []string   `json:"exclude,omitempty"` // CIDRs that became internal to the project
	Case      *int       `json:"case,omitempty"`    // the number of the case that runs from now on; 0 for none
	Run       *Run       `json:"run,omitempty"`     // in replay mode
	Saved     int64      `json:"saved,omitempty"`   // how many of the records are on the tape; not replied to
	Stop      bool       `json:"stop,omitempty"`
	Finish    *Finish    `json:"finish,omitempty"` // the recording that the agent writes
	Cleanup   bool       `json:"cleanup,omitempty"`
	Discard   bool       `json:"discard,omitempty"` // with Cleanup: drop the recording, which never began
}

// FromAgent is one line to the CLI; exactly one field beside ID is set.
type FromAgent struct {
	ID    int64  `json:"id,omitempty"` // of the request that this replies to
	Hello *Hello `json:"hello,omitempty"`
	Ready bool   `json:"ready,omitempty"`
	// Record is for tape.Writer.Apply, in record mode. It comes as it travels, not in a
	// line of JSON, and its data is valid until who got the message returns.
	Record *tape.Record `json:"-"`
	Event  *event.Event `json:"event,omitempty"`
	Reply  *Reply       `json:"reply,omitempty"`
	// Running is the number of a case that begins.
	Running int `json:"running,omitempty"`
	// Result is that of a case that ended. Its files are those in the agent's container.
	Result *report.CaseResult `json:"result,omitempty"`
	// Sent is when the case of Result was sent, on the clock of the updates.
	Sent time.Duration `json:"sent_ns,omitempty"`
	// Update is a step of a case that is recorded anew, or of a call that is
	// recorded because the tape did not answer it. A case that was sent more than
	// once has an ID for each time; the last counts.
	Update  *tape.Record `json:"update,omitempty"`
	Stopped bool         `json:"stopped,omitempty"`
	// Unwritable is sent once when the tape that the agent writes can't be written any more.
	Unwritable *event.Problem `json:"unwritable,omitempty"`
	// Fatal ends the session: the agent can't go on. Unsupported is set where the
	// kernel or the engine lacks something.
	Fatal *event.Problem `json:"fatal,omitempty"`
	Log   *Log           `json:"log,omitempty"` // for --debug
}

// Hello is the first line that the agent sends.
type Hello struct {
	Version string `json:"version"`
	CSR     string `json:"csr"` // PEM
}

// Start has all that a session needs.
type Start struct {
	Session string `json:"session"`
	Mode    Mode   `json:"mode"`
	// Cgroup is the session's cgroup as a path from the root of the hierarchy,
	// "/wiretape-1a2b" or "/wiretape_1a2b.slice".
	Cgroup   string    `json:"cgroup"`
	Services []Service `json:"services"`
	// Exclude are the CIDRs of the project's own networks; Include are addresses
	// inside them that are outside all the same (a network's gateway is the host).
	Exclude []string `json:"exclude"`
	Include []string `json:"include"`
	// Names are the DNS names that the compose network itself answers, lower case.
	Names []string `json:"names"`
	// Hosts limits what is recorded: patterns such as "api.openai.com", "*.openai.com",
	// "10.0.0.0/8", "api.example.com:8443". Empty means everything.
	Hosts        []string         `json:"hosts,omitempty"`
	Chain        string           `json:"chain"` // PEM: the intermediate for Hello.CSR, then the root
	UpstreamCA   string           `json:"upstream_ca,omitempty"`
	KeepEncoding bool             `json:"keep_encoding,omitempty"`
	Redact       tape.RedactRules `json:"redact"`
	// Correlate are the fields by which a call names its case, beside the usual ones.
	Correlate []string  `json:"correlate,omitempty"`
	Ingress   []Ingress `json:"ingress,omitempty"`
	// Recording is the tape that the agent writes itself; nil where the CLI does.
	Recording *Recording `json:"recording,omitempty"`
	// Tape is the folder in the agent's container that holds the tape to replay.
	Tape   string  `json:"tape,omitempty"`
	Speed  float64 `json:"speed"`
	Reuse  bool    `json:"reuse,omitempty"` // identical calls start over when all are answered
	OnMiss OnMiss  `json:"on_miss,omitempty"`
	// Noise is the value of noise in wiretape.yaml, as YAML; see noise.Parse.
	Noise string `json:"noise,omitempty"`
	// LLMFormats is the value of llm_formats in wiretape.yaml, as YAML; see llm.Parse.
	LLMFormats string `json:"llm_formats,omitempty"`
	// MatchHeaders are further fields of requests that count; they may have '*' and '?'.
	MatchHeaders []string `json:"match_headers,omitempty"`
	Debug        bool     `json:"debug,omitempty"`
}

// Isolates reports whether nothing may leave the session.
func (s *Start) Isolates() bool { return s.Mode == Replay && !s.OnMiss.Open() }

// A Service is a target service.
type Service struct {
	Name string `json:"name"`
	// Cgroup is the parent of its containers' cgroups, as a path from the hierarchy's root.
	Cgroup string `json:"cgroup"`
	// AgentIPv4 and AgentIPv6 are the agent's addresses on a network that it shares with the service.
	AgentIPv4 string `json:"agent_ipv4,omitempty"`
	AgentIPv6 string `json:"agent_ipv6,omitempty"`
	// IPv4Only is set where none of the service's networks has IPv6.
	IPv4Only bool `json:"ipv4_only,omitempty"`
	// Roots are the PEM certificates that the service's containers trusted before us.
	Roots string `json:"roots,omitempty"`
}

// An Ingress is a published port that the agent forwards to a service.
type Ingress struct {
	// Listen is the TCP port in the agent's container.
	Listen  int    `json:"listen"`
	Service string `json:"service"`
	Port    int    `json:"port"` // in the service's container
	// Published is the host's address and port, for messages and for the cases' URLs.
	Published string `json:"published"`
}

// Listening asks which TCP ports the processes of a service listen on; the reply
// lists, for each of its containers that has a process, the ports.
type Listening struct {
	Service string `json:"service"`
}

// Run asks to send cases of the tape, and to compare the answers.
type Run struct {
	TapeName string `json:"tape_name,omitempty"` // what the user calls the tape
	Cases    []int  `json:"cases"`
	Parallel int    `json:"parallel,omitempty"` // how many at once, of those that did not stream
	// Headers replace redacted request fields.
	Headers        map[string]string `json:"headers,omitempty"`
	Limits         compare.Limits    `json:"limits"`
	TimeLimit      time.Duration     `json:"time_limit_ns,omitempty"` // 0: from the recorded length
	MaxDifferences int               `json:"max_differences,omitempty"`
	Update         bool              `json:"update,omitempty"` // record the cases anew
}

// A Recording is a tape that the agent writes.
type Recording struct {
	Dir      string        `json:"dir"` // in the agent's container
	Manifest tape.Manifest `json:"manifest"`
	// Begun is set where the CLI has begun the recording in Dir, and puts it in its place.
	Begun bool        `json:"begun,omitempty"`
	Owner *tape.Owner `json:"owner,omitempty"` // of its files then; nil for root
}

// Finish asks to put the recording that the agent writes in its place.
type Finish struct {
	Outcome  recording.Outcome `json:"outcome"`
	Problems []string          `json:"problems,omitempty"`
}

// A Reply answers a request.
type Reply struct {
	Error     string            `json:"error,omitempty"`
	Ports     [][]int           `json:"ports,omitempty"`     // to Listening: one list a container
	Recording *recording.Result `json:"recording,omitempty"` // to Finish; its folder is in the agent's container
	Problem   *event.Problem    `json:"problem,omitempty"`   // to Finish: why the tape is not in its place
}

// Log is a line for --debug.
type Log struct {
	Level   string `json:"level"`
	Message string `json:"message"`
}
