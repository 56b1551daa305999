//go:build !race

package http1

const idleBound = 20 << 10
