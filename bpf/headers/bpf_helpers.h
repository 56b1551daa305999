/* SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause */
/*
 * What redirect.bpf.c uses of libbpf's bpf_helpers.h and bpf_helper_defs.h
 * (https://github.com/libbpf/libbpf), kept here so that a clang is all it takes
 * to compile the programs. All of these helpers but bpf_set_retval are offered to
 * the program types here by Linux 5.15.
 */
#pragma once

#include "linux_bpf.h"

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))

#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

#define bpf_htons(x) ((__be16)__builtin_bswap16((__u16)(x)))
#define bpf_htonl(x) ((__be32)__builtin_bswap32((__u32)(x)))

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bpf_htons and bpf_htonl are for little-endian machines"
#endif

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static __u32 (*bpf_get_prandom_u32)(void) = (void *)7;
static __u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 len) = (void *)26;
static long (*bpf_bind)(struct bpf_sock_addr *ctx, void *addr, int addr_len) = (void *)64;
static __u64 (*bpf_get_current_cgroup_id)(void) = (void *)80;
static long (*bpf_sk_release)(void *sk) = (void *)86;
static struct bpf_sock *(*bpf_sk_fullsock)(struct bpf_sock *sk) = (void *)95;
static void *(*bpf_sk_storage_get)(void *map, void *sk, void *value, __u64 flags) = (void *)107;
static long (*bpf_sk_storage_delete)(void *map, void *sk) = (void *)108;
static __u64 (*bpf_get_netns_cookie)(void *ctx) = (void *)122;
static __u64 (*bpf_get_current_ancestor_cgroup_id)(int ancestor_level) = (void *)123;
static int (*bpf_set_retval)(int retval) = (void *)187;
