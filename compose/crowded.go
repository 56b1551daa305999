package compose

import (
	"net/netip"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// sideKey is what the override calls the session's network for services whose
// own networks are full.
const sideKey = "wiretape-side"

// isFull reports whether the project's containers leave no IPv4 address of a
// network to the agent. Where the engine chooses the subnet there is room.
func (p *Project) isFull(key string, before Snapshot) bool {
	room, known := 0, false
	for _, pool := range p.Networks[key].Ipam.Config {
		prefix, err := netip.ParsePrefix(pool.Subnet)
		if err != nil || !prefix.Addr().Is4() {
			continue
		}
		known = true
		if prefix.Bits() < 16 {
			return false
		}
		// The subnet's own, the broadcast address and the gateway are nobody's.
		room += 1<<(32-prefix.Bits()) - 3 - len(pool.AuxiliaryAddresses)
	}
	if !known {
		return false
	}
	for _, s := range p.Services {
		if _, on := s.Networks[key]; on && s.Provider == nil {
			room -= replicasOf(s, before)
		}
	}
	return room < 1
}

// networkOwner is the service whose containers have the network that those of s use.
func (p *Project) networkOwner(s types.ServiceConfig) string {
	for range p.Services { // compose refuses a cycle
		other, ok := strings.CutPrefix(s.NetworkMode, types.ServicePrefix)
		if !ok {
			break
		}
		s = p.Services[other]
	}
	return s.Name
}
