//go:build race

package http1

// idleBound is larger here: the race detector grows stacks and what is allocated.
const idleBound = 56 << 10
