package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Maps is what the programs and the agent share. It works in any process that has
// its files, and is safe for concurrent use.
type Maps struct {
	config, services, places4, places6, alive, pending, udpOrigins *ebpf.Map
}

// What a destination is: enum place of the programs.
const (
	outside uint32 = iota
	inside
	borrowed
)

// ErrIsolated is returned by [Maps.Bypass] where nothing may leave.
var ErrIsolated = errors.New("an isolated session can't be bypassed")

// alwaysOwn are the destinations that are never redirected, save for Docker's
// resolver at 127.0.0.11. The programs know them.
var alwaysOwn = [...]netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("0.0.0.0/32"),
	netip.MustParsePrefix("::/128"),
	netip.MustParsePrefix("::1/128"),
}

// excludedAtFirst stay on the link: link-local, multicast and broadcast.
var excludedAtFirst = [...]netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// named lists the maps in the order of Files.
func (m *Maps) named() []namedMap {
	return []namedMap{
		{redirectMapConfig, &m.config},
		{redirectMapServices, &m.services},
		{redirectMapPlaces4, &m.places4},
		{redirectMapPlaces6, &m.places6},
		{redirectMapAlive, &m.alive},
		{redirectMapPending, &m.pending},
		{redirectMapUdpOrigins, &m.udpOrigins},
	}
}

type namedMap struct {
	name string
	m    **ebpf.Map
}

// Files returns the maps as files that another process can inherit, to be used
// there with [FromFiles]. The caller closes them.
func (m *Maps) Files() ([]*os.File, error) {
	var files []*os.File
	for _, nm := range m.named() {
		fd, err := unix.FcntlInt(uintptr((*nm.m).FD()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, os.NewSyscallError("fcntl", err)
		}
		files = append(files, os.NewFile(uintptr(fd), "bpf-map:"+nm.name))
	}
	return files, nil
}

// FromFiles makes Maps of what [Maps.Files] returned, in the same order and of the
// same version of the program. The files can be closed afterwards.
func FromFiles(files []*os.File) (*Maps, error) {
	spec, err := loadRedirect()
	if err != nil {
		return nil, err
	}
	m := new(Maps)
	named := m.named()
	if len(files) != len(named) {
		return nil, fmt.Errorf("%d map files, want %d", len(files), len(named))
	}
	for i, nm := range named {
		if err := fromFile(nm, files[i], spec.Maps[nm.name]); err != nil {
			m.Close()
			return nil, err
		}
	}
	return m, nil
}

func fromFile(nm namedMap, f *os.File, want *ebpf.MapSpec) error {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("map %s: %w", nm.name, os.NewSyscallError("fcntl", err))
	}
	got, err := ebpf.NewMapFromFD(fd) // owns fd from here on
	if err != nil {
		return fmt.Errorf("map %s: %w", nm.name, err)
	}
	if got.Type() != want.Type || got.KeySize() != want.KeySize || got.ValueSize() != want.ValueSize {
		got.Close()
		return fmt.Errorf("map %s: the file is a different map, %v", nm.name, got)
	}
	*nm.m = got
	return nil
}

// Close closes this process's handles. The programs go on as long as they are
// attached.
func (m *Maps) Close() error {
	var errs []error
	for _, nm := range m.named() {
		errs = append(errs, (*nm.m).Close())
	}
	return errors.Join(errs...)
}

// SetService sets where a service reaches the agent. It takes effect with the next
// connect.
func (m *Maps) SetService(s Service) error {
	v4, v6 := s.AgentIPv4.Unmap(), s.AgentIPv6
	if !v4.IsValid() && !v6.IsValid() {
		return errors.New("service without an agent address")
	}
	value := redirectService{}
	if s.IPv4Only {
		value.Ip4Only = 1
	}
	if v4.IsValid() {
		if !v4.Is4() || v4.IsUnspecified() {
			return fmt.Errorf("%v is not an IPv4 address of an agent", v4)
		}
		value.Ip4 = words(v4)[3]
	}
	if v6.IsValid() {
		if !v6.Is6() || v6.Is4In6() || v6.IsUnspecified() || v6.Zone() != "" {
			return fmt.Errorf("%v is not an IPv6 address of an agent", v6)
		}
		value.Ip6 = words(v6)
	}
	if err := m.services.Put(s.CgroupID, value); err != nil {
		return fmt.Errorf("set service of cgroup %d: %w", s.CgroupID, err)
	}
	return nil
}

// RemoveService forgets a service; its processes are unknown from then on. It is
// no error if it was not set.
func (m *Maps) RemoveService(cgroupID uint64) error {
	if err := m.services.Delete(cgroupID); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("remove service of cgroup %d: %w", cgroupID, err)
	}
	return nil
}

// Exclude leaves the destinations in p alone, but for DNS. Where prefixes overlap,
// the longest decides.
func (m *Maps) Exclude(p netip.Prefix) error { return m.setPrefix(p, inside) }

// Borrow is Exclude for addresses that may be another's once the session is over:
// an isolated session that has lost its agent refuses them.
func (m *Maps) Borrow(p netip.Prefix) error { return m.setPrefix(p, borrowed) }

// Include redirects the destinations in p, which may be a part of an excluded
// prefix. Loopback can't be included.
func (m *Maps) Include(p netip.Prefix) error {
	p = unmapPrefix(p)
	for _, own := range alwaysOwn {
		if p.IsValid() && own.Contains(p.Addr()) && p.Bits() >= own.Bits() {
			return fmt.Errorf("include %v: loopback is never redirected", p)
		}
	}
	return m.setPrefix(p, outside)
}

// Forget takes back an Exclude or Include of the same prefix. It is no error if
// there was none.
func (m *Maps) Forget(p netip.Prefix) error {
	lpm, key, err := m.prefixKey(p)
	if err != nil {
		return err
	}
	if err := lpm.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forget %v: %w", p, err)
	}
	return nil
}

func (m *Maps) setPrefix(p netip.Prefix, place uint32) error {
	lpm, key, err := m.prefixKey(p)
	if err != nil {
		return err
	}
	if err := lpm.Put(key, place); err != nil {
		return fmt.Errorf("set prefix %v: %w", p, err)
	}
	return nil
}

func (m *Maps) prefixKey(p netip.Prefix) (*ebpf.Map, any, error) {
	if !p.IsValid() {
		return nil, nil, errors.New("invalid prefix")
	}
	p = unmapPrefix(p).Masked()
	w := words(p.Addr())
	if p.Addr().Is4() {
		return m.places4, redirectPrefix4{Bits: uint32(p.Bits()), Ip: w[3]}, nil
	}
	return m.places6, redirectPrefix6{Bits: uint32(p.Bits()), Ip: w}, nil
}

// unmapPrefix turns a prefix of ::ffff:0:0/96 into that of the IPv4 addresses,
// since mapped destinations are treated as IPv4.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// Bypass lets new connects go directly, or stops that. Sockets that are already
// redirected stay so. It returns [ErrIsolated] in an isolated session.
func (m *Maps) Bypass(on bool) error {
	var set redirectSettings
	if err := m.config.Lookup(uint32(0), &set); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	if on && set.Isolate != 0 {
		return ErrIsolated
	}
	set.Bypass = 0
	if on {
		set.Bypass = 1
	}
	if err := m.config.Put(uint32(0), set); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// Live says that this process is there for what is led to the agent, until it
// closes what is returned or ends, in whatever way. Until then, an isolated session
// refuses all that it would lead there.
func (m *Maps) Live() (io.Closer, error) {
	// Nothing is sent to this socket. That it is bound is what the map asks of it.
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) { err = m.alive.Put(uint32(0), uint64(fd)) })
		err = errors.Join(err, cerr)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("say that the agent lives: %w", explain(err))
	}
	return conn, nil
}

// Take returns where an accepted connection was going, and forgets it: a second
// call finds nothing. local and remote are the connection's addresses as the agent
// sees them. ok is false for a connection that was not redirected. What is taken
// was there before the connection's first packet left.
func (m *Maps) Take(local, remote netip.AddrPort) (o Origin, ok bool, err error) {
	key := redirectFlow{App: endpoint(remote), Agent: endpoint(local)}
	var value redirectOrigin
	err = m.pending.LookupAndDelete(&key, &value)
	return originOf(&value, err)
}

// UDPOrigin returns what the last DNS query from a UDP port was sent to. cookie is
// the SO_NETNS_COOKIE of the network namespace that it came from.
func (m *Maps) UDPOrigin(cookie uint64, port uint16) (o Origin, ok bool, err error) {
	key := redirectUdpSocket{Netns: cookie, Port: bigEndian(port)}
	var value redirectOrigin
	err = m.udpOrigins.Lookup(&key, &value)
	return originOf(&value, err)
}

func originOf(value *redirectOrigin, err error) (Origin, bool, error) {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return Origin{}, false, nil
	}
	if err != nil {
		return Origin{}, false, fmt.Errorf("read origin: %w", err)
	}
	return Origin{
		Dst:          addrPort(value.Dst),
		PID:          value.Pid,
		CgroupID:     value.Service,
		TaskCgroupID: value.Cgroup,
		NetnsCookie:  value.Netns,
	}, true, nil
}

// words is the address as the programs have it: IPv4 as ::ffff:a.b.c.d, each word
// in network byte order.
func words(a netip.Addr) (w [4]uint32) {
	b := a.As16()
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

func endpoint(a netip.AddrPort) redirectEndpoint {
	return redirectEndpoint{Ip: words(a.Addr()), Port: bigEndian(a.Port())}
}

func addrPort(e redirectEndpoint) netip.AddrPort {
	var b [16]byte
	for i, w := range e.Ip {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(b).Unmap(), bigEndian(e.Port))
}

// bigEndian converts a port from host to network byte order, and back.
func bigEndian(port uint16) uint16 {
	return binary.NativeEndian.Uint16([]byte{byte(port >> 8), byte(port)})
}
