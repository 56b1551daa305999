/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs remember, and what they share with the agent. Every address is
 * 16 bytes: IPv4 as ::ffff:a.b.c.d. Addresses and ports are in network byte order.
 */
#pragma once

#include "bpf_helpers.h"

#define MAX_TCP_PORTS 16 /* a power of two */

struct endpoint {
	__be32 ip[4];
	__be16 port;
	__u16 pad;
};

struct settings {
	__u32 isolate; /* nothing may leave that is not inside */
	__u32 bypass; /* touch nothing; ignored where isolate is set */
	__u32 tcp_ports;
	__be16 dns_port; /* 0: DNS is left alone */
	__be16 closed_port; /* 0: UDP/443 is left alone */
	__be16 tcp_port[MAX_TCP_PORTS];
};

struct service {
	__be32 ip4; /* the agent as this service reaches it; 0: not over IPv4 */
	__u32 ip4_only; /* IPv6 destinations are out of reach for it anyway */
	__be32 ip6[4]; /* zero: not over IPv6 */
};

struct origin {
	struct endpoint dst;
	__u32 pid; /* thread group, as the first pid namespace counts */
	__u64 service; /* id of the service's cgroup */
	__u64 cgroup; /* id of the process's own cgroup */
	__u64 netns; /* cookie */
};

struct flow {
	struct endpoint app;
	struct endpoint agent;
};

struct udp_socket {
	__u64 netns; /* cookie */
	__be16 port;
	__u16 pad[3];
};

struct socket_state {
	struct origin origin;
	struct endpoint agent;
};

struct prefix4 {
	__u32 bits;
	__be32 ip;
};

struct prefix6 {
	__u32 bits;
	__be32 ip[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} config SEC(".maps");

/* By the id of the service's cgroup. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct service);
} services SEC(".maps");

/* What a destination is. */
enum place {
	OUTSIDE, /* led to the agent */
	INSIDE, /* left alone */
	/* Left alone too, but in an isolated session only while the agent lives: once
	 * the engine forgets whose the address was, anybody may get it. */
	BORROWED,
	UNLISTED, /* of no prefix; as OUTSIDE */
};

/* The longest prefix decides. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct prefix4);
	__type(value, __u32);
} places4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct prefix6);
	__type(value, __u32);
} places6 SEC(".maps");

/* Freed with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_state);
} sockets SEC(".maps");

/* A socket of the agent's, which the kernel takes out when it is closed, however
 * the agent ended: in an isolated session nothing is led to where it was then. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} alive SEC(".maps");

/* TCP connections that somebody else opened: what they send is an answer. Freed
 * with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} accepted SEC(".maps");

/* From the SYN to the agent's accept. The whole four-tuple is the key, because one
 * source port can be in use towards several of the agent's ports at once. LRU,
 * because a connect that fails is never taken. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct flow);
	__type(value, struct origin);
} pending SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct udp_socket);
	__type(value, struct origin);
} udp_origins SEC(".maps");
