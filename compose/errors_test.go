package compose

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/httpstream/event"
)

func TestEveryErrorOfASessionHasAKind(t *testing.T) {
	for _, test := range []struct {
		err  error
		want event.ProblemKind
	}{
		{errors.New("something"), event.Environment},
		{fmt.Errorf("copy the tape: %w", fs.ErrNotExist), event.Environment},
		{session.UsageError("", "flags"), event.Usage},
		{errors.Join(session.UsageError("", "flags"), errors.New("more")), event.Usage},
	} {
		var e *event.Problem
		if !errors.As(asEnvironment(test.err), &e) || e.Kind != test.want {
			t.Errorf("%v has kind %s, want %s", test.err, e.Kind, test.want)
		}
	}
	for _, err := range []error{nil, context.Canceled, &CommandError{Err: errors.New("compose says")}} {
		if got := asEnvironment(err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
}
