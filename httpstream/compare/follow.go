package compare

import (
	"fmt"
	"strconv"
	"strings"
)

// Followers are differences that only repeat an earlier one, or follow from it: one
// inserted event shifts the sequence number of all behind it. They are counted
// with their cause.
type followers struct {
	causes map[string]int // what is repeated → the index of the first
	last   map[int]string // the last unit that was counted for a cause
	net    map[string]int // units inserted less units missing, by label
	first  map[string]int // the last of those
	folded int
}

// maxFolded bounds the work for an answer in which everything differs.
const maxFolded = 10_000

// fold tells whether d follows from an earlier difference, and counts it there.
// Otherwise d is a cause itself if it is kept.
func (f *followers) fold(list []Difference, d *Difference, kept bool) bool {
	if f.causes == nil {
		f.causes, f.last = map[string]int{}, map[int]string{}
		f.net, f.first = map[string]int{}, map[string]int{}
	}
	if d.Unit != "" && d.Where == "" && (d.Kind == Extra || d.Kind == Missing) {
		if d.Kind == Extra {
			f.net[d.Unit]++
		} else {
			f.net[d.Unit]--
		}
		if n := len(list) - 1; n >= 1 && d.after(&list[n]) && list[n].after(&list[n-1]) {
			list[n].Run++
			return true
		}
		if kept {
			f.first[d.Unit] = len(list)
		} else {
			delete(f.first, d.Unit)
		}
		return false
	}
	if d.Unit == "" || d.Kind != Changed && d.Kind != Missing && d.Kind != Extra {
		return false
	}
	at := fmt.Sprintf("%s %s %s ", d.Kind, d.Unit, d.Where)
	keys := []string{at + "= " + d.Recorded + "\x00" + d.Now}
	if d.nuance != "" {
		keys[0] = at + "~ " + d.nuance
	}
	if by, ok := shift(d); ok {
		if cause, ok := f.first[d.Unit]; ok && by == f.net[d.Unit] {
			return f.count(list, cause, d)
		}
		keys = append(keys, fmt.Sprintf("%s+ %d", at, by))
	}
	for _, k := range keys {
		if cause, ok := f.causes[k]; ok {
			return f.count(list, cause, d)
		}
	}
	for _, k := range keys {
		if kept {
			f.causes[k] = len(list)
		}
	}
	return false
}

// after tells whether two whole units are missing, or extra, in a row.
func (d *Difference) after(o *Difference) bool {
	return o.Kind == d.Kind && o.Unit == d.Unit && o.Where == "" && o.Index+o.Run+1 == d.Index
}

func (f *followers) count(list []Difference, cause int, d *Difference) bool {
	f.folded++
	unit := fmt.Sprintf("%s %d", d.Unit, d.Index)
	if c := &list[cause]; f.last[cause] != unit && (c.Unit != d.Unit || c.Index != d.Index || c.Where == "") {
		c.Follow++
	}
	f.last[cause] = unit
	return true
}

// shift is by how much a whole number grew.
func shift(d *Difference) (by int, ok bool) {
	rec, err := strconv.Atoi(d.Recorded)
	if err != nil {
		return 0, false
	}
	now, err := strconv.Atoi(d.Now)
	return now - rec, err == nil && d.Kind == Changed
}

// Tail says what follows from a difference, and stands at the end of its message:
// "3 events after it as well", "22 events follow from it". It is empty where
// nothing does.
func (d *Difference) Tail() string {
	var parts []string
	if d.Run > 0 {
		parts = append(parts, counted(d.Run, d.Unit)+" after it as well")
	}
	if d.Follow > 0 {
		verb := " follow from it"
		if d.Follow == 1 {
			verb = " follows from it"
		}
		parts = append(parts, counted(d.Follow, d.Unit)+verb)
	}
	return strings.Join(parts, "; ")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
