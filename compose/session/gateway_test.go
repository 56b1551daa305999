package session

import (
	"testing"

	"github.com/docker/docker/api/types/network"
)

func TestTheGatewayThatAnEngineDoesNotTell(t *testing.T) {
	for _, test := range []struct {
		name string
		pool network.IPAMConfig
		want string
	}{
		{"is told", network.IPAMConfig{Subnet: "10.1.0.0/24", Gateway: "10.1.0.9"}, "10.1.0.9"},
		{"is told with its prefix", network.IPAMConfig{Subnet: "fd01::/64", Gateway: "fd01::1/64"}, "fd01::1"},
		{"is the first of the subnet", network.IPAMConfig{Subnet: "10.1.0.0/24"}, "10.1.0.1"},
		{"is the first of the subnet's IPv6", network.IPAMConfig{Subnet: "fd01::/64"}, "fd01::1"},
		{"is the first of the range", network.IPAMConfig{Subnet: "10.1.0.0/24", IPRange: "10.1.0.128/25"}, "10.1.0.128"},
		{"is not the subnet's own name", network.IPAMConfig{Subnet: "10.1.0.0/24", IPRange: "10.1.0.0/25"}, "10.1.0.1"},
		{"is of a subnet with host bits", network.IPAMConfig{Subnet: "10.1.0.7/24"}, "10.1.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := gatewayOf(test.pool); len(got) != 1 || got[0] != test.want {
				t.Errorf("got %v, want %s", got, test.want)
			}
		})
	}
}
