//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Leads what the processes of one cgroup send to the outside to the agent, and
 * remembers where it was going.
 *
 *   connect4/6      TCP, and connected UDP: a new destination
 *   sendmsg4/6      UDP that names its destination in each call
 *   sockops         TCP, just before the SYN leaves: the ports are known now, so
 *                   the origin is handed to the agent
 *   recvmsg4/6      a DNS answer comes from the resolver that was asked
 *   getpeername4/6  the peer is the one that was asked for
 *   fence           every packet, in an isolated session: only those to inside
 */
#include "bpf_helpers.h"
#include "maps.h"

char __license[] SEC("license") = "Dual BSD/GPL";

#define MAX_DEPTH 16 /* of cgroups, from the root of the hierarchy */
#define BIND_TRIES 8

#define MAPPED bpf_htonl(0xffff)
#define PORT_DNS bpf_htons(53)
#define PORT_HTTPS bpf_htons(443)

/* Linux 6.1 lets these programs choose the error that the caller sees. Below, the
 * verifier removes the call as dead code, and the error is EPERM. */
const volatile __u8 have_set_retval = 0;

enum verdict {
	PASS,
	LEAD,
	REFUSE, /* ECONNREFUSED */
	UNREACHABLE, /* ENETUNREACH */
};

static __always_inline int is_v4(const __be32 ip[4])
{
	return ip[0] == 0 && ip[1] == 0 && ip[2] == MAPPED;
}

static __always_inline void set_v4(__be32 ip[4], __be32 v4)
{
	ip[0] = 0;
	ip[1] = 0;
	ip[2] = MAPPED;
	ip[3] = v4;
}

static __always_inline void copy_ip(__be32 to[4], const __be32 from[4])
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

static __always_inline int same_ip(const __be32 a[4], const __be32 b[4])
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

static __always_inline int is_set(const __be32 ip[4])
{
	return (ip[0] | ip[1] | ip[2] | ip[3]) != 0;
}

/* Loopback, and the unspecified address, which means loopback to connect. */
static __always_inline int is_own(const __be32 ip[4])
{
	if (is_v4(ip))
		return ip[3] == 0 || (ip[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && (ip[3] == 0 || ip[3] == bpf_htonl(1));
}

/* A resolver at a loopback address is the app's own, save for Docker's. */
static __always_inline int is_resolver(const struct endpoint *dst)
{
	if (dst->port != PORT_DNS)
		return 0;
	return !is_own(dst->ip) || (is_v4(dst->ip) && dst->ip[3] == bpf_htonl(0x7f00000b));
}

static __always_inline enum place place_of(const __be32 ip[4])
{
	__u32 *place;

	if (is_own(ip))
		return INSIDE;
	if (is_v4(ip)) {
		struct prefix4 key = { .bits = 32, .ip = ip[3] };
		place = bpf_map_lookup_elem(&places4, &key);
	} else {
		struct prefix6 key = { .bits = 128 };
		copy_ip(key.ip, ip);
		place = bpf_map_lookup_elem(&places6, &key);
	}
	return place ? *place : UNLISTED;
}

static __always_inline int agent_lives(void)
{
	__u32 zero = 0;
	void *sk = bpf_map_lookup_elem(&alive, &zero);

	if (!sk)
		return 0;
	bpf_sk_release(sk);
	return 1;
}

/* The outermost cgroup of the caller's that is a service. The levels are tried one
 * by one, because how deep the session's cgroup lies depends on the engine. */
static __always_inline struct service *find_service(__u64 *id)
{
	for (int level = 1; level <= MAX_DEPTH; level++) {
		struct service *service;

		*id = bpf_get_current_ancestor_cgroup_id(level);
		if (*id == 0)
			break;
		service = bpf_map_lookup_elem(&services, id);
		if (service)
			return service;
	}
	return 0;
}

/* Whether the socket can't speak IPv4. IPV6_V6ONLY can't be read below Linux 6.1,
 * but bind refuses a mapped address because of it. Binding to the mapped
 * unspecified address without a port changes nothing for a socket that is about to
 * connect to a mapped address. */
static __always_inline int is_v6_only(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	__be32 bound[4] = { sk->src_ip6[0], sk->src_ip6[1], sk->src_ip6[2], sk->src_ip6[3] };

	if (is_set(bound))
		return !is_v4(bound);
	if (sk->src_port)
		return 0; /* can't be told */
	set_v4(any.sin6_addr, 0);
	return bpf_bind(ctx, &any, sizeof(any)) != 0;
}

/* The source port of a UDP socket, in host byte order. A connect runs before the
 * kernel has given it one; then one is chosen here, as the kernel would. Zero if
 * none was found. */
static __always_inline __u16 bind_port(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	if (sk->src_port)
		return sk->src_port;
	for (int i = 0; i < BIND_TRIES; i++) {
		__u16 port = 32768 + bpf_get_prandom_u32() % 28232;
		long err;

		if (ctx->family == AF_INET) {
			struct sockaddr_in addr = {
				.sin_family = AF_INET,
				.sin_port = bpf_htons(port),
				.sin_addr = sk->src_ip4,
			};
			err = bpf_bind(ctx, &addr, sizeof(addr));
		} else {
			struct sockaddr_in6 addr = {
				.sin6_family = AF_INET6,
				.sin6_port = bpf_htons(port),
				.sin6_addr = { sk->src_ip6[0], sk->src_ip6[1], sk->src_ip6[2], sk->src_ip6[3] },
			};
			err = bpf_bind(ctx, &addr, sizeof(addr));
		}
		if (!err)
			return port;
	}
	return 0;
}

/* Where the agent is for a call of this hook to dst. An address that is not the
 * agent's but ::1 is a dead end: for IPv6 datagrams that must not leave, and for
 * which there is no IPv6 address of the agent's. */
static __always_inline enum verdict find_agent(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
					       const struct settings *set, const struct service *service,
					       const struct endpoint *dst, int hook6, int connecting, int closed,
					       __be32 ip[4])
{
	enum verdict otherwise = set->isolate ? UNREACHABLE : PASS;

	if (is_v4(dst->ip)) {
		if (service->ip4) {
			set_v4(ip, service->ip4);
			return LEAD;
		}
		if (!hook6 || !is_set(service->ip6))
			return otherwise;
		copy_ip(ip, service->ip6);
		return LEAD;
	}
	if (is_set(service->ip6)) {
		copy_ip(ip, service->ip6);
		return LEAD;
	}
	if (service->ip4_only || !service->ip4)
		return otherwise;
	/* The kernel does not take a mapped address from sendmsg6. */
	if (connecting && (set->isolate || !is_v6_only(ctx, sk))) {
		/* An isolated IPV6_V6ONLY socket gets ENETUNREACH from the kernel. */
		set_v4(ip, service->ip4);
		return LEAD;
	}
	if (!closed)
		return otherwise;
	ip[0] = ip[1] = ip[2] = 0;
	ip[3] = bpf_htonl(1);
	return LEAD;
}

/* Decides on one connect or send to dst; LEAD sets *to. */
static __always_inline enum verdict decide(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct endpoint *dst,
					   int hook6, int connecting, struct endpoint *to)
{
	__u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&config, &zero);
	struct service *service;
	struct socket_state *state;
	__u64 service_id = 0;
	enum verdict verdict;
	int stream = ctx->type == SOCK_STREAM;
	int dns, closed, dead;

	if (!set || (set->bypass && !set->isolate))
		return PASS;
	if (!stream && ctx->protocol != IPPROTO_UDP && ctx->protocol != IPPROTO_UDPLITE)
		return PASS;

	/* A connected IPv6 socket whose peer is a mapped address names that peer in
	 * each send, and it was led there already. */
	state = connecting ? 0 : bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (state && state->agent.port == dst->port && same_ip(state->agent.ip, dst->ip))
		return PASS;

	dead = set->isolate && !agent_lives();
	dns = is_resolver(dst) && (stream || set->dns_port);
	if (!dns) {
		enum place place = place_of(dst->ip);

		if (place == INSIDE || (place == BORROWED && !dead))
			return PASS;
	}
	closed = !stream && !dns;
	if (closed && (!set->closed_port || (dst->port != PORT_HTTPS && !set->isolate)))
		return PASS;
	if (dead)
		return REFUSE;

	service = find_service(&service_id);
	if (!service)
		return set->isolate ? REFUSE : PASS;
	verdict = find_agent(ctx, sk, set, service, dst, hook6, connecting, closed, to->ip);
	if (verdict != LEAD)
		return verdict;

	to->pad = 0;
	if (stream)
		to->port = set->tcp_port[bpf_get_prandom_u32() % (set->tcp_ports ?: 1) & (MAX_TCP_PORTS - 1)];
	else
		to->port = dns ? set->dns_port : set->closed_port;

	/* No answer comes from the closed port, so a send to it leaves what recvmsg
	 * must know of the resolver as it is. */
	if (closed && !connecting)
		return LEAD;
	state = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state)
		return set->isolate ? REFUSE : PASS;
	state->agent = *to;
	state->origin.dst = *dst;
	state->origin.pid = bpf_get_current_pid_tgid() >> 32;
	state->origin.service = service_id;
	state->origin.cgroup = bpf_get_current_cgroup_id();
	state->origin.netns = bpf_get_netns_cookie(ctx);

	if (!stream && dns) {
		struct udp_socket key = { .netns = state->origin.netns };

		key.port = bpf_htons(connecting ? bind_port(ctx, sk) : (__u16)sk->src_port);
		if (key.port)
			bpf_map_update_elem(&udp_origins, &key, &state->origin, BPF_ANY);
	}
	return LEAD;
}

/* What a cgroup program returns: 1 goes on, 0 fails the call. */
static __always_inline int answer(enum verdict verdict)
{
	if (verdict == PASS || verdict == LEAD)
		return 1;
	if (have_set_retval)
		bpf_set_retval(verdict == REFUSE ? -ECONNREFUSED : -ENETUNREACH);
	return 0;
}

static __always_inline int redirect4(struct bpf_sock_addr *ctx, int connecting)
{
	struct bpf_sock *sk = ctx->sk;
	struct endpoint dst = { .port = ctx->user_port }, to = {};
	enum verdict verdict;

	if (!sk)
		return 1;
	set_v4(dst.ip, ctx->user_ip4);
	verdict = decide(ctx, sk, &dst, 0, connecting, &to);
	if (verdict == LEAD) {
		ctx->user_ip4 = to.ip[3];
		ctx->user_port = to.port;
	} else if (connecting) {
		/* What an earlier connect of this socket left. */
		bpf_sk_storage_delete(&sockets, sk);
	}
	return answer(verdict);
}

static __always_inline int redirect6(struct bpf_sock_addr *ctx, int connecting)
{
	struct bpf_sock *sk = ctx->sk;
	struct endpoint dst = { .port = ctx->user_port }, to = {};
	enum verdict verdict;

	if (!sk)
		return 1;
	dst.ip[0] = ctx->user_ip6[0];
	dst.ip[1] = ctx->user_ip6[1];
	dst.ip[2] = ctx->user_ip6[2];
	dst.ip[3] = ctx->user_ip6[3];
	verdict = decide(ctx, sk, &dst, 1, connecting, &to);
	if (verdict == LEAD) {
		ctx->user_ip6[0] = to.ip[0];
		ctx->user_ip6[1] = to.ip[1];
		ctx->user_ip6[2] = to.ip[2];
		ctx->user_ip6[3] = to.ip[3];
		ctx->user_port = to.port;
	} else if (connecting) {
		bpf_sk_storage_delete(&sockets, sk);
	}
	return answer(verdict);
}

/* Puts the original address where ctx has the agent's. */
static __always_inline int restore4(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket_state *state;

	if (!sk)
		return 1;
	state = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!state || (__be16)ctx->user_port != state->agent.port)
		return 1;
	if (!is_v4(state->agent.ip) || ctx->user_ip4 != state->agent.ip[3])
		return 1;
	ctx->user_ip4 = state->origin.dst.ip[3];
	ctx->user_port = state->origin.dst.port;
	return 1;
}

static __always_inline int restore6(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket_state *state;
	__be32 ip[4];

	if (!sk)
		return 1;
	state = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!state || (__be16)ctx->user_port != state->agent.port)
		return 1;
	ip[0] = ctx->user_ip6[0];
	ip[1] = ctx->user_ip6[1];
	ip[2] = ctx->user_ip6[2];
	ip[3] = ctx->user_ip6[3];
	if (!same_ip(ip, state->agent.ip))
		return 1;
	ctx->user_ip6[0] = state->origin.dst.ip[0];
	ctx->user_ip6[1] = state->origin.dst.ip[1];
	ctx->user_ip6[2] = state->origin.dst.ip[2];
	ctx->user_ip6[3] = state->origin.dst.ip[3];
	ctx->user_port = state->origin.dst.port;
	return 1;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return redirect4(ctx, 1);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return redirect6(ctx, 1);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return redirect4(ctx, 0);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return redirect6(ctx, 0);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return restore4(ctx);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return restore6(ctx);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return restore4(ctx);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	return restore6(ctx);
}

SEC("sockops")
int hand_over(struct bpf_sock_ops *ctx)
{
	struct socket_state *state;
	struct bpf_sock *sk;
	struct flow flow = {};
	__u32 zero = 0;

	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	sk = ctx->sk;
	if (!sk)
		return 1;
	if (ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) {
		struct settings *set = bpf_map_lookup_elem(&config, &zero);

		if (set && set->isolate)
			bpf_sk_storage_get(&accepted, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		return 1;
	}
	state = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!state)
		return 1;

	flow.agent = state->agent;
	if (is_v4(state->agent.ip)) {
		/* An IPv6 socket's own mapped address is not filled in yet. */
		set_v4(flow.app.ip, ctx->local_ip4);
	} else {
		flow.app.ip[0] = ctx->local_ip6[0];
		flow.app.ip[1] = ctx->local_ip6[1];
		flow.app.ip[2] = ctx->local_ip6[2];
		flow.app.ip[3] = ctx->local_ip6[3];
	}
	flow.app.port = bpf_htons((__u16)ctx->local_port);
	bpf_map_update_elem(&pending, &flow, &state->origin, BPF_ANY);
	return 1;
}

/* Whether a packet belongs to a TCP connection that was opened from elsewhere; a
 * SYN-ACK comes with the socket that listens. */
static __always_inline int is_answer(struct __sk_buff *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->type != SOCK_STREAM || sk->protocol != IPPROTO_TCP)
		return 0;
	return sk->state == BPF_TCP_LISTEN || bpf_sk_storage_get(&accepted, sk, 0, 0) != 0;
}

/* Whether the kernel tells a neighbour of its own who has an address (RFC 4861, 4):
 * its socket for that may count as the app's. */
static __always_inline int is_neighbour_discovery(struct __sk_buff *ctx)
{
	__u8 head[41]; /* IPv6's, and the type */

	if (bpf_skb_load_bytes(ctx, 0, head, sizeof(head)))
		return 0;
	return head[6] == IPPROTO_ICMPV6 && head[7] == 255 &&
	       (head[40] == NDISC_NEIGHBOUR_SOLICITATION || head[40] == NDISC_NEIGHBOUR_ADVERTISEMENT);
}

/* The last word on each packet of an isolated session, whatever socket it is from
 * and whenever that was connected. What a packet is sent to is known here for
 * certain: routing and address translation are done. */
SEC("cgroup_skb/egress")
int fence(struct __sk_buff *ctx)
{
	__u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&config, &zero);
	int v6 = ctx->protocol == bpf_htons(ETH_P_IPV6);
	enum place place;
	__be32 ip[4];

	if ((set && !set->isolate) || ctx->ifindex == LOOPBACK_IFINDEX)
		return 1;
	if (v6) {
		if (bpf_skb_load_bytes(ctx, 24, ip, 16))
			return 0;
	} else {
		__be32 v4;

		if (ctx->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(ctx, 16, &v4, 4))
			return 0;
		set_v4(ip, v4);
	}
	place = place_of(ip);
	if (place == INSIDE || (place == BORROWED && agent_lives()))
		return 1;
	if (is_answer(ctx))
		return 1;
	return v6 && place != UNLISTED && is_neighbour_discovery(ctx);
}
