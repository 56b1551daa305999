package bpf

// The generated files are committed, so that building wiretape takes a Go
// toolchain alone. They were made with clang 14.0.6; another clang makes a
// different object that does the same. Both machines that we build for are
// little-endian, so one object serves them.

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -go-package bpf -target bpfel -tags linux -type endpoint -type settings -type service -type origin -type flow -type udp_socket -type prefix4 -type prefix6 redirect redirect.bpf.c -- -O2 -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-function -Iheaders
