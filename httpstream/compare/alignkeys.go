package compare

import (
	"slices"

	"github.com/aymanbagabas/go-udiff/lcs"
)

// A step tells how one element of two sequences goes with the other: Changed,
// Missing (now is -1), Extra (rec is -1) or Reordered. Equal elements have none.
type step struct {
	kind     Kind
	rec, now int
}

// alignKeys explains how now differs from rec: what stays in a longest common
// subsequence is equal, what occurs on both sides outside it has moved, and in
// the gaps between, the elements that are most alike are taken for changed.
func alignKeys(rec, now []string) []step {
	prefix := 0
	for prefix < len(rec) && prefix < len(now) && rec[prefix] == now[prefix] {
		prefix++
	}
	if prefix == len(rec) && prefix == len(now) {
		return nil
	}
	gaps := lcs.DiffLines(rec[prefix:], now[prefix:])
	for i := range gaps {
		g := &gaps[i]
		g.Start, g.End, g.ReplStart, g.ReplEnd = g.Start+prefix, g.End+prefix, g.ReplStart+prefix, g.ReplEnd+prefix
	}

	movedTo, moved := findMoved(rec, now, gaps)
	var steps []step
	for _, g := range gaps {
		var rs, ns []int
		var gap []step
		for i := g.Start; i < g.End; i++ {
			if j, ok := movedTo[i]; ok {
				gap = append(gap, step{Reordered, i, j})
			} else {
				rs = append(rs, i)
			}
		}
		for j := g.ReplStart; j < g.ReplEnd; j++ {
			if !moved[j] {
				ns = append(ns, j)
			}
		}
		gap = append(gap, pairGap(rec, now, rs, ns)...)
		slices.SortStableFunc(gap, func(a, b step) int { return a.place(g) - b.place(g) })
		steps = append(steps, gap...)
	}
	return steps
}

// place orders the steps of a gap by their offset in it.
func (s step) place(g lcs.Diff) int {
	if s.rec >= 0 {
		return s.rec - g.Start
	}
	return s.now - g.ReplStart
}

// findMoved pairs equal elements that are outside the common subsequence.
func findMoved(rec, now []string, gaps []lcs.Diff) (to map[int]int, moved map[int]bool) {
	free := map[string][]int{}
	for _, g := range gaps {
		for j := g.ReplStart; j < g.ReplEnd; j++ {
			free[now[j]] = append(free[now[j]], j)
		}
	}
	to, moved = map[int]int{}, map[int]bool{}
	for _, g := range gaps {
		for i := g.Start; i < g.End; i++ {
			if js := free[rec[i]]; len(js) > 0 {
				to[i], moved[js[0]] = js[0], true
				free[rec[i]] = js[1:]
			}
		}
	}
	return to, moved
}

// maxGap bounds the table that pairGap fills.
const maxGap = 64

// pairGap pairs what is left in a gap: all of the shorter side, in order, with
// those of the longer side that are most alike.
func pairGap(rec, now []string, rs, ns []int) []step {
	if len(rs) == 0 || len(ns) == 0 {
		return pairInOrder(rs, ns)
	}
	if steps, ok := pairLoosely(rec, now, rs, ns); ok {
		return steps
	}
	if len(rs) == len(ns) || len(rs) > maxGap || len(ns) > maxGap {
		return pairInOrder(rs, ns)
	}
	// best[i][j] is the greatest likeness that pairs of rs[i:] and ns[j:] can have.
	best := make([][]float64, len(rs)+1)
	for i := range best {
		best[i] = make([]float64, len(ns)+1)
	}
	like := func(i, j int) float64 { return 0.01 + likeness(rec[rs[i]], now[ns[j]]) }
	for i := len(rs) - 1; i >= 0; i-- {
		for j := len(ns) - 1; j >= 0; j-- {
			best[i][j] = max(best[i+1][j], best[i][j+1], like(i, j)+best[i+1][j+1])
		}
	}
	var steps []step
	i, j := 0, 0
	for i < len(rs) && j < len(ns) {
		switch best[i][j] {
		case like(i, j) + best[i+1][j+1]:
			steps = append(steps, step{Changed, rs[i], ns[j]})
			i, j = i+1, j+1
		case best[i+1][j]:
			steps = append(steps, step{Missing, rs[i], -1})
			i++
		default:
			steps = append(steps, step{Extra, -1, ns[j]})
			j++
		}
	}
	return append(steps, pairInOrder(rs[i:], ns[j:])...)
}

// pairLoosely pairs elements that are equal but for their numbers, such as events
// that have a sequence number, and then what lies between them; false if there
// are none, or all are.
func pairLoosely(rec, now []string, rs, ns []int) (steps []step, ok bool) {
	a, b := make([]string, len(rs)), make([]string, len(ns))
	for k, i := range rs {
		a[k] = looseKey(rec[i])
	}
	for k, j := range ns {
		b[k] = looseKey(now[j])
	}
	gaps := lcs.DiffLines(a, b)
	if len(gaps) == 1 && gaps[0].End-gaps[0].Start == len(a) && gaps[0].ReplEnd-gaps[0].ReplStart == len(b) {
		return nil, false
	}
	i, j := 0, 0
	for _, g := range append(gaps, lcs.Diff{Start: len(a), End: len(a), ReplStart: len(b), ReplEnd: len(b)}) {
		for ; i < g.Start; i, j = i+1, j+1 {
			steps = append(steps, step{Changed, rs[i], ns[j]})
		}
		if g.End > g.Start || g.ReplEnd > g.ReplStart {
			steps = append(steps, pairGap(rec, now, rs[g.Start:g.End], ns[g.ReplStart:g.ReplEnd])...)
		}
		i, j = g.End, g.ReplEnd
	}
	return steps, true
}

func looseKeys(keys []string) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = looseKey(k)
	}
	return out
}

// looseKey is a key with each run of digits written as one.
func looseKey(key string) string {
	b := make([]byte, 0, len(key))
	for i := range len(key) {
		c := key[i]
		if c >= '0' && c <= '9' {
			if n := len(b); n > 0 && b[n-1] == '0' {
				continue
			}
			c = '0'
		}
		b = append(b, c)
	}
	return string(b)
}

func pairInOrder(rs, ns []int) []step {
	var steps []step
	n := min(len(rs), len(ns))
	for k := range n {
		steps = append(steps, step{Changed, rs[k], ns[k]})
	}
	for _, i := range rs[n:] {
		steps = append(steps, step{Missing, i, -1})
	}
	for _, j := range ns[n:] {
		steps = append(steps, step{Extra, -1, j})
	}
	return steps
}

// likeness is the part of the longer text that both begin and end with, from 0 to 1.
func likeness(a, b string) float64 {
	longer := max(len(a), len(b))
	if longer == 0 {
		return 1
	}
	prefix := firstDifference(a, b)
	a, b = a[prefix:], b[prefix:]
	suffix := 0
	for suffix < len(a) && suffix < len(b) && a[len(a)-1-suffix] == b[len(b)-1-suffix] {
		suffix++
	}
	return float64(prefix+suffix) / float64(longer)
}
