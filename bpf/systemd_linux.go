package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// SystemdSocket is where the systemd of the machine listens for root, without a bus
// between, as a process sees it that shares the machine's process numbers.
const SystemdSocket = "/proc/1/root/run/systemd/private"

const (
	systemdName    = "org.freedesktop.systemd1"
	systemdPath    = "/org/freedesktop/systemd1"
	systemdManager = systemdName + ".Manager"
)

// ForgetSlice has the systemd at socket unload a slice and those below it. An engine
// with the systemd driver has it make them for containers, and leaves them: it would
// make their cgroups again at its next reload. Call it when the cgroups are removed,
// since systemd ends what still runs in a slice that is stopped. It is no error if
// there is no such slice.
func ForgetSlice(ctx context.Context, socket, name string) error {
	if err := forgetSlice(ctx, socket, name); err != nil {
		return fmt.Errorf("systemd keeps %s (systemctl stop %[1]s ends that): %w", name, err)
	}
	return nil
}

func forgetSlice(ctx context.Context, socket, name string) error {
	if _, err := os.Stat(socket); err != nil {
		return err
	}
	conn, err := dbus.Dial("unix:path="+socket, dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("%s: %w", socket, err)
	}
	defer conn.Close()
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal("0")}); err != nil {
		return fmt.Errorf("%s: %w", socket, err)
	}
	systemd := conn.Object(systemdName, systemdPath)
	if err := greet(ctx, systemd); err != nil {
		return fmt.Errorf("%s does not answer: %w", socket, err)
	}
	var loaded [][]any
	if err := systemd.CallWithContext(ctx, systemdManager+".ListUnits", 0).Store(&loaded); err != nil {
		return err
	}
	// The slices below begin with its name: "a-b.slice" is in "a.slice".
	below := strings.TrimSuffix(name, ".slice") + "-"
	var units []string
	for _, u := range loaded {
		if unit, ok := u[0].(string); ok && strings.HasSuffix(unit, ".slice") && (unit == name || strings.HasPrefix(unit, below)) {
			units = append(units, unit)
		}
	}
	for _, unit := range units {
		if err := systemd.CallWithContext(ctx, systemdManager+".StopUnit", 0, unit, "replace").Err; err != nil && !isUnknown(err) {
			return err
		}
	}
	for _, unit := range units {
		if err := awaitUnloaded(ctx, systemd, unit); err != nil {
			return err
		}
	}
	return nil
}

// greet waits until systemd answers. A message that it reads together with the end of
// the handshake it looks at only when the next one comes.
func greet(ctx context.Context, systemd dbus.BusObject) error {
	const ping = "org.freedesktop.DBus.Peer.Ping"
	answered := systemd.GoWithContext(ctx, ping, 0, nil).Done
	for {
		select {
		case call := <-answered:
			return call.Err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(retryEvery):
			systemd.GoWithContext(ctx, ping, dbus.FlagNoReplyExpected, nil)
		}
	}
}

// awaitUnloaded waits until systemd does not know a unit any more, which is a moment
// after it has stopped.
func awaitUnloaded(ctx context.Context, systemd dbus.BusObject, unit string) error {
	for {
		var path dbus.ObjectPath
		err := systemd.CallWithContext(ctx, systemdManager+".GetUnit", 0, unit).Store(&path)
		if isUnknown(err) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not stop %s: %w", unit, context.Cause(ctx))
		case <-time.After(retryEvery):
		}
	}
}

func isUnknown(err error) bool {
	var answer dbus.Error
	return errors.As(err, &answer) && answer.Name == systemdName+".NoSuchUnit"
}
