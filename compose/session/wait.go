package session

import (
	"context"
	"time"

	"github.com/containerd/errdefs"
)

// pollInterval is how often the engine is asked for what it does not tell of itself.
const pollInterval = 30 * time.Millisecond

// Pause waits for d, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// IgnoreMissing is err, or nil where it says that something is not there.
func IgnoreMissing(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
