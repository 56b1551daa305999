package compose

import (
	"os"
	"time"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream/tape"
	"github.com/wiretape/wiretape/images"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// Options say what a session does.
type Options struct {
	ProjectFlags
	// Services are those to record; empty means all. A replay always covers all,
	// so that nothing reaches the outside.
	Services []string
	Mode     agent.Mode
	// Tape is the folder to record to, or to replay from. A recording without one
	// is not kept.
	Tape     string
	Manifest tape.Manifest // what is known of the tape to record beforehand
	Hosts    []string      // patterns; see agent.Start
	Redact   tape.RedactRules
	Speed    float64 // of the replay: 1 as recorded, 0 as fast as it goes
	OnMiss   agent.OnMiss
	// KeepNetworks leaves networks that are not the project's own to a test. Else it
	// has internal ones in their place.
	KeepNetworks bool
	Reuse        bool   // identical calls start over when all are answered
	Noise        string // YAML: what does not count; see agent.Start
	// MatchHeaders are further fields of requests that count; see agent.Start.
	MatchHeaders []string

	Root         *mitmtls.Root
	UpstreamCA   []byte // PEM: further roots for upstream's certificates
	KeepEncoding bool
	// Correlate are header fields that the app passes on, by which a call names the
	// case that it was made for, beside those that are known.
	Correlate  []string
	Privileged bool // run the agent with --privileged
	Debug      bool
	// Agent is the program for the agent's container; nil for this program.
	Agent   *images.Binary
	Version string
	// ReadyTimeout is how long the services have to come up, from the moment when
	// their images and the agent are there. 0 means 60 seconds.
	ReadyTimeout time.Duration

	// Progress hears what happens, for people; Message what the agent says: events
	// and log lines. Both may be nil, and are called from several goroutines.
	Progress func(Progress)
	Message  func(agent.FromAgent)
	// Interrupts may deliver further Ctrl-C after the one that ended ctx. The undo
	// goes on, and says what it is at.
	Interrupts <-chan os.Signal
}

// A Progress is something that the user may want to know.
type Progress struct {
	Kind ProgressKind
	Text string
	Hint string // what to do about it; may be empty
}

// A ProgressKind tells what a Progress is about.
type ProgressKind int

const (
	Detail ProgressKind = iota // a step began, or docker compose says something
	Info                       // something to show
	Warn                       // something to show that may be wrong
	Failed                     // a part of the undo that failed
)

func (o *Options) progress(kind ProgressKind, text, hint string) {
	if o.Progress != nil {
		o.Progress(Progress{Kind: kind, Text: text, Hint: hint})
	}
}

// fenced reports whether the project's networks are closed off.
func (o *Options) fenced() bool { return o.Mode == agent.Replay && !o.OnMiss.Open() }

func (o *Options) readyTimeout() time.Duration {
	if o.ReadyTimeout > 0 {
		return o.ReadyTimeout
	}
	return 60 * time.Second
}
