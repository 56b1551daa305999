// Package program runs the agent's programs by their names: the guard, the worker, and
// what checks and cleans up.
package program
