// Package event is the vocabulary of what happens in a session: an exchange that
// ended, a miss, a notice, in memory and as JSON.
//
// The JSON form of an Event is one flat object, whose "type" tells which fields there
// are; docs/cli.md documents it.
package event

import (
	"encoding/json"
	"fmt"
)

// An Event is one thing that happened: Exchange or Notice is set.
type Event struct {
	Exchange *Exchange
	// Miss is set beside the Exchange of a call that the tape does not answer.
	Miss   *Miss
	Notice *Notice
}

// Type is what the JSON form is told by.
func (e *Event) Type() string {
	switch {
	case e.Miss != nil:
		return "miss"
	case e.Exchange != nil:
		return string(e.Exchange.Kind)
	case e.Notice != nil:
		return string(e.Notice.Kind)
	}
	return ""
}

// MarshalJSON writes the flat form.
func (e Event) MarshalJSON() ([]byte, error) {
	kind := e.Type()
	switch {
	case e.Miss != nil:
		return json.Marshal(struct {
			Type string `json:"type"`
			*Exchange
			Miss     missBody `json:"miss"`
			Answered Answered `json:"answered,omitempty"`
		}{kind, e.Exchange, e.Miss.body(), e.Miss.Answered})
	case e.Exchange != nil:
		return json.Marshal(struct {
			Type string `json:"type"`
			*Exchange
		}{kind, e.Exchange})
	case e.Notice != nil:
		return json.Marshal(struct {
			Type string `json:"type"`
			*Notice
		}{kind, e.Notice})
	}
	return nil, fmt.Errorf("an event without anything in it")
}

// UnmarshalJSON reads the flat form.
func (e *Event) UnmarshalJSON(data []byte) error {
	var is struct {
		Type string `json:"type"`
		Miss *Miss  `json:"miss"`
	}
	if err := json.Unmarshal(data, &is); err != nil {
		return err
	}
	*e = Event{}
	switch is.Type {
	case "miss":
		if e.Miss = is.Miss; e.Miss == nil {
			return fmt.Errorf("a miss that does not say what is missed")
		}
		e.Exchange = &Exchange{Kind: CallEnded}
		return json.Unmarshal(data, e.Exchange)
	case string(CallEnded), string(CaseEnded):
		e.Exchange = &Exchange{Kind: ExchangeKind(is.Type)}
		return json.Unmarshal(data, e.Exchange)
	}
	e.Notice = &Notice{Kind: NoticeKind(is.Type)}
	return json.Unmarshal(data, e.Notice)
}
