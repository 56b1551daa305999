package session

import (
	"os"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream/tape"
	"github.com/wiretape/wiretape/images"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// Options say what a session does.
type Options struct {
	Mode agent.Mode
	// Tape is the folder to record to, or to replay from. A recording without one
	// is not kept.
	Tape string
	// Apart keeps a folder from being mounted into the agent, as on an engine that does
	// not have it.
	Apart      bool
	Manifest   tape.Manifest // what is known of the tape to record beforehand
	Hosts      []string      // patterns; see agent.Start
	Redact     tape.RedactRules
	Speed      float64 // of the replay: 1 as recorded, 0 as fast as it goes
	OnMiss     agent.OnMiss
	Reuse      bool   // identical calls start over when all are answered
	Noise      string // YAML: what does not count; see agent.Start
	LLMFormats string // YAML: formats of language models; see agent.Start
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
	Detail ProgressKind = iota // a step began
	Busy                       // what the session is at, or waits for; it holds until the next
	Info                       // something to show
	Warn                       // something to show that may be wrong
	Failed                     // a part of the undo that failed
)

func (o *Options) Report(kind ProgressKind, text, hint string) {
	if o.Progress != nil {
		o.Progress(Progress{Kind: kind, Text: text, Hint: hint})
	}
}

// Isolates reports whether nothing may leave the session.
func (o *Options) Isolates() bool { return o.Mode == agent.Replay && !o.OnMiss.Open() }

// records reports whether the session makes a tape.
func (o *Options) records() bool { return o.Mode == agent.Record && o.Tape != "" }
