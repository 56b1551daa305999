package compose

import (
	"time"

	"github.com/wiretape/wiretape/compose/session"
)

// Options say what a session over a compose project does.
type Options struct {
	session.Options
	ProjectFlags
	// Services are those to record; empty means all. A replay always covers all,
	// so that nothing reaches the outside.
	Services []string
	// KeepNetworks leaves networks that are not the project's own to a test. Else it
	// has internal ones in their place.
	KeepNetworks bool
	// ReadyTimeout is how long the services have to come up, from the moment when
	// their images and the agent are there. 0 means 60 seconds.
	ReadyTimeout time.Duration
}

func (o *Options) readyTimeout() time.Duration {
	if o.ReadyTimeout > 0 {
		return o.ReadyTimeout
	}
	return 60 * time.Second
}
