package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// A HostPolicy says which destinations are recorded.
type HostPolicy struct {
	patterns []hostPattern
}

type hostPattern struct {
	name   string // lower case; "" if prefix is set
	suffix bool   // name begins with "*." and stands for any labels before it
	prefix netip.Prefix
	port   string // "" for any
}

// ParseHosts reads patterns: a name ("api.openai.com"), a name with a leading
// wildcard ("*.openai.com", any depth, not the bare domain), an address or a CIDR,
// each with ":port" behind it where only that port is meant. No patterns give a nil policy.
func ParseHosts(patterns []string) (*HostPolicy, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	policy := &HostPolicy{}
	for _, s := range patterns {
		p, err := parseHost(s)
		if err != nil {
			return nil, fmt.Errorf("host pattern %q: %w", s, err)
		}
		policy.patterns = append(policy.patterns, p)
	}
	return policy, nil
}

func parseHost(s string) (hostPattern, error) {
	var p hostPattern
	if prefix, err := netip.ParsePrefix(s); err == nil {
		p.prefix = prefix.Masked()
		return p, nil
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		p.prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		return p, nil
	}
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		host = h
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return p, fmt.Errorf("%q is not a port: write a number from 1 to 65535", port)
		}
		p.port = strings.TrimLeft(port, "0")
		if prefix, err := netip.ParsePrefix(host); err == nil {
			p.prefix = prefix.Masked()
			return p, nil
		}
		if addr, err := netip.ParseAddr(host); err == nil {
			p.prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
			return p, nil
		}
	}
	p.name = strings.ToLower(strings.TrimSuffix(host, "."))
	if rest, ok := strings.CutPrefix(p.name, "*."); ok {
		p.suffix, p.name = true, "."+rest
	}
	if strings.Trim(p.name, ".") == "" || strings.ContainsAny(p.name, "*/:? ") {
		return p, fmt.Errorf("write a host name, *.domain, an address or a CIDR, with :port if only that port is meant")
	}
	return p, nil
}

// Match reports whether a destination is recorded. name may be empty. A nil
// policy matches everything.
func (hp *HostPolicy) Match(name string, addr netip.AddrPort) bool {
	if hp == nil {
		return true
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for _, p := range hp.patterns {
		if p.port != "" && p.port != fmt.Sprint(addr.Port()) {
			continue
		}
		switch {
		case p.name == "":
			if p.prefix.Contains(addr.Addr().Unmap()) {
				return true
			}
		case p.suffix:
			if strings.HasSuffix(name, p.name) {
				return true
			}
		case p.name == name:
			return true
		}
	}
	return false
}
