package event

// A Notice is something that a user should hear of, beside exchanges.
type Notice struct {
	Kind    NoticeKind `json:"-"`
	Service string     `json:"service,omitempty"`
	// Number and Case are those of a call that it is about, if there is one.
	Number int `json:"number,omitempty"`
	Case   int `json:"case,omitempty"`
	// About is a host with its port, a name, or a call's URL.
	About string `json:"url,omitempty"`
	// HTTP is set for an Opaque connection on which HTTP was expected, so that what
	// passed is missing in the recording. Bytes is how much it was, where that is known.
	Bytes  int64  `json:"bytes,omitempty"`
	HTTP   bool   `json:"http,omitempty"`
	Detail string `json:"detail,omitempty"` // why
	Cause  Cause  `json:"cause,omitempty"`
	Next   string `json:"hint,omitempty"` // what to do
}

// NoticeKind is the kind of a Notice.
type NoticeKind string

const (
	Opaque      NoticeKind = "opaque"    // relayed, or in replay refused, because it isn't HTTP
	Untrusted   NoticeKind = "untrusted" // a client rejected our certificate
	Closed      NoticeKind = "closed"    // a client went away after our certificate, and asked nothing
	Unreachable NoticeKind = "refused"   // upstream can't be reached or isn't trusted
	Stray       NoticeKind = "unknown"   // a connection that nobody led here; it was closed
	// Misused is a client of the explicit proxy that can't be served, About is then the
	// client's address; or one whose request is not HTTP and did not pass.
	Misused    NoticeKind = "misused"
	Unrecorded NoticeKind = "passed"  // the agent's worker died while it recorded, and the app went on directly
	Failed     NoticeKind = "error"   // an answer or the recording could not be completed
	Warning    NoticeKind = "warning" // what the user should act on
	Step       NoticeKind = "note"    // a step of the session
)

// Cause is why upstream could not be had, where there is something to do about it.
type Cause string

// PrivateRoot is an upstream whose certificate no known authority has signed.
const PrivateRoot Cause = "private_root"

// Missing says what the recording lacks because of an Opaque notice; empty if it
// lacks nothing that it should have. Equal causes have equal texts.
func (n *Notice) Missing() string {
	if !n.HTTP {
		return ""
	}
	with := "with " + n.About
	if n.Service != "" {
		with = "between " + n.Service + " and " + n.About
	}
	return "HTTP " + with + " passed unrecorded: " + n.Detail
}
