package compose

import (
	"context"

	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/compose/session"
)

// ReadTape copies the tape in a volume to the folder dir of this host, which it makes.
// Of the options it uses the agent, the version, and the function that hears of it.
func ReadTape(ctx context.Context, opt Options, at recording.Volume, dir string) error {
	return withEngine(ctx, opt, func(e *session.Env) error { return session.ReadTape(ctx, e, at, dir) })
}

// WriteTape copies the tape in the folder dir of this host to a volume.
func WriteTape(ctx context.Context, opt Options, dir string, at recording.Volume) error {
	return withEngine(ctx, opt, func(e *session.Env) error { return session.WriteTape(ctx, e, dir, at) })
}

// CopyTape copies the tape in a folder of this host to another, which it makes.
func CopyTape(dir, target string) error { return session.CopyTape(dir, target) }

func withEngine(ctx context.Context, opt Options, do func(*session.Env) error) error {
	engine, err := Connect(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	info, err := session.ObserveEngine(ctx, engine)
	if err != nil {
		return err
	}
	return asEnvironment(do(&session.Env{Engine: engine, Info: info, Options: &opt.Options}))
}
