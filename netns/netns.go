// Package netns runs code and opens sockets inside another network namespace, and
// finds the namespace of a process or of an address (network_namespaces(7)).
//
// A socket belongs to the namespace that it was made in, for good; so only the
// call that makes it runs there, on a thread of its own.
package netns

import (
	"errors"
)

// ErrNotFound is returned by [Finder.ByAddr] for an address that no process of the
// cgroups has.
var ErrNotFound = errors.New("no process has this address")

// A Process is one process of a network namespace.
type Process struct {
	// NS is the namespace. It belongs to the Finder, and stops working when no
	// process of the cgroups is left in it.
	NS *NS
	// PID is as this process's pid namespace counts.
	PID int
	// Cgroup is the folder of the process's cgroup. Where several cgroups share
	// the namespace, it is one of them.
	Cgroup string
}
