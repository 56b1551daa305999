package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
)

// A finding is one difference as every report shows it: a title, and the two
// values or the word difference below.
type finding struct {
	Title         string
	Pair          bool // Recorded and Now are to be shown
	Recorded, Now string
	Words         compare.Words
	rank          int // 1 for what says least about an answer of another status
}

// findings are the differences of a verdict, the cause first: what a language
// model said, a wrong status, the timing and the end explain what follows. more
// counts those beyond most.
func findings(v *compare.Verdict, most int) (list []finding, more int) {
	if v == nil {
		return nil, 0
	}
	inAnswer, unit := 0, "difference"
	isInAnswer := v.InAnswer()
	explained := v.Answer != nil && (len(v.Answer.Pieces) > 0 || v.Answer.Same) && most < everything
	if v.Answer != nil {
		for i := range v.Answer.Pieces {
			list = append(list, pieceFindings(&v.Answer.Pieces[i])...)
		}
		if v.Answer.Same {
			list = append(list, finding{Title: "the text put together from the deltas is the same, cut into other pieces"})
		}
	}
	if len(list) > most {
		more, list = len(list)-most, list[:most]
	}
	// Timing is last in a verdict but is what a person should see before the
	// tenth event.
	var first, shape, rest []finding
	for i := range v.Differences {
		d := &v.Differences[i]
		switch {
		case d.Kind == compare.Status:
			first = append(first, findingOf(d))
		case d.Kind.Timing(), d.Kind == compare.Ended, d.Kind == compare.Recording:
			shape = append(shape, findingOf(d))
		case explained && isInAnswer(d):
			inAnswer += 1 + d.Run + d.Follow
			if d.Unit != "" {
				unit = d.Unit
			}
		default:
			rest = append(rest, findingOf(d))
		}
	}
	list = append(append(first, list...), shape...)
	if inAnswer > 0 {
		list = append(list, finding{Title: follows(inAnswer, unit)})
	}
	room := most
	switch {
	case explained:
		room = most/2 + 1
	case len(first) > 0: // another answer: what it says, and no more
		slices.SortStableFunc(rest, func(a, b finding) int { return cmp.Compare(a.rank, b.rank) })
		if len(rest) > 1 && most < everything {
			list, rest = append(list, rest[0], finding{Title: follows(len(rest)-1+v.More, "more difference")}), nil
			return list, 0
		}
	}
	if len(rest) > room {
		more += len(rest) - room
		rest = rest[:room]
	}
	return append(list, rest...), more + v.More
}

// follows says what comes from a cause that stands above: "22 events follow from it".
func follows(n int, what string) string {
	if n == 1 {
		return "1 " + what + " follows from it"
	}
	return Plural(n, what) + " follow from it"
}

// summary is a finding in one line.
func (f *finding) summary() string {
	switch {
	case len(f.Words) > 0:
		words, _ := cutWords(elide(f.Words, 20), 100)
		return f.Title + ": " + words.String()
	case f.Pair:
		rec, now := shortenPair(f.Recorded, f.Now, 60)
		return f.Title + ": recorded " + rec + ", now " + now
	}
	return f.Title
}

func findingOf(d *compare.Difference) finding {
	f := finding{Title: d.Message, Recorded: d.Recorded, Now: d.Now, Words: d.Words}
	if d.Kind == compare.Header || d.Kind == compare.Trailer {
		f.rank = 1
	}
	if d.Recorded == "" && d.Now == "" || d.Kind.Timing() && d.Kind != compare.Buffered {
		f.Words = nil
		return f // the message has it all
	}
	if d.Title == "" {
		return f
	}
	f.Title, f.Pair = d.Title, true
	if tail := d.Tail(); tail != "" {
		f.Title += "; " + tail
	}
	return f
}

// pieceFindings are for one text or tool call of a language model.
func pieceFindings(p *compare.PieceDifference) []finding {
	name := p.Name + ", put together from the deltas"
	switch {
	case p.Recorded == "" && p.RecordedTool == "":
		return []finding{{Title: name + ", was not recorded", Pair: true, Now: toolCall(p.NowTool, p.Now)}}
	case p.Now == "" && p.NowTool == "":
		return []finding{{Title: name + ", is missing", Pair: true, Recorded: toolCall(p.RecordedTool, p.Recorded)}}
	case p.RecordedTool != p.NowTool || p.Kind == "tool" && p.Words == nil && len(p.Arguments) == 0:
		return []finding{{Title: name, Pair: true,
			Recorded: toolCall(p.RecordedTool, p.Recorded), Now: toolCall(p.NowTool, p.Now)}}
	case len(p.Arguments) > 0:
		var list []finding
		for i := range p.Arguments {
			f := findingOf(&p.Arguments[i])
			f.Title = fmt.Sprintf("%s %s: %s", p.Name, p.NowTool, f.Title)
			list = append(list, f)
		}
		return list
	}
	return []finding{{Title: name, Words: p.Words, Pair: p.Words == nil, Recorded: p.Recorded, Now: p.Now}}
}

func toolCall(tool, arguments string) string {
	if tool == "" {
		return arguments
	}
	return tool + " " + arguments
}

// elide shortens what is equal in a word difference to some columns on either
// side of a change.
func elide(words compare.Words, context int) compare.Words {
	out := make(compare.Words, len(words))
	for i, s := range words {
		out[i] = s
		if s.Op != "=" || cells(s.Text) <= 2*context+1 {
			continue
		}
		before := strings.TrimRight(front(s.Text, context), " ") + " "
		after := " " + strings.TrimLeft(back(s.Text, context), " ")
		if i == 0 {
			before = ""
		}
		if i == len(words)-1 {
			after = ""
		}
		out[i].Text = before + "…" + after
	}
	return out
}

// cutWords ends a word difference after a number of columns.
func cutWords(words compare.Words, limit int) (compare.Words, bool) {
	for i, s := range words {
		if n := cells(s.Text); n > limit {
			out := append(compare.Words{}, words[:i]...)
			return append(out, compare.Span{Op: s.Op, Text: front(s.Text, limit) + "…"}), true
		} else {
			limit -= n
		}
	}
	return words, false
}

// delaySentence says where the time went; empty if that is not known or no matter.
func delaySentence(v *compare.Verdict) string {
	const matters = 100 * time.Millisecond
	if v == nil || v.Pass || v.Delay.Where() == "" || v.Delay.Total < matters {
		return ""
	}
	for i := range v.Differences {
		if k := v.Differences[i].Kind; k == compare.SlowFirst || k == compare.SlowGap {
			return "" // the message has it
		}
	}
	return fmt.Sprintf("of the delay of %s, %s is in the app and %s outside, waiting for calls",
		Short(v.Delay.Total), Short(v.Delay.App), Short(v.Delay.Outside))
}

// missSentence says what is known about a miss beside its differences.
func missSentence(m *event.Miss) string {
	switch {
	case m.Used > 0:
		return fmt.Sprintf("it was recorded %s, and the app asked once more", Times(m.Used))
	case m.Closest == nil:
		return "nothing like it was recorded"
	case m.Closest.Number == 0:
		return fmt.Sprintf("closest: %s %s", m.Closest.Method, m.Closest.URL)
	}
	return fmt.Sprintf("closest: call %d  %s %s", m.Closest.Number, m.Closest.Method, m.Closest.URL)
}

// missWord is what a call without an answer on the tape is called.
func missWord(m *event.Miss) string {
	switch m.Answered {
	case event.Refused:
		return "miss"
	case event.Recorded:
		return "newly recorded"
	}
	return "passed through"
}

func orderSentence(o *Order) string {
	return fmt.Sprintf("the calls came in another order: recorded %s, now %s", listed(o.Recorded), listed(o.Now))
}

// listed writes numbers, the first dozen of them.
func listed(numbers []int) string {
	const most = 12
	var b strings.Builder
	for i, n := range numbers {
		if i == most {
			b.WriteString(" …")
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprint(&b, n)
	}
	return b.String()
}

// headline is what a case's failure is about, in one line.
func headline(c *CaseResult) string {
	switch {
	case c.Error != "":
		return oneLine(c.Error)
	case failing(c.Misses) > 0: // what differs follows from it, most likely
		for i := range c.Misses {
			if m := &c.Misses[i]; m.Answered == event.Refused {
				s := fmt.Sprintf("no recorded call answers %s %s", m.Method, m.URL)
				for _, d := range m.Differences {
					if d.Message != "" { // it says why
						return oneLine(s + ": " + d.Message)
					}
				}
				return oneLine(s)
			}
		}
	case len(c.Unlike) > 0: // so does what differs from this
		return oneLine(fmt.Sprintf("call %d: %s", c.Unlike[0].Number, c.Unlike[0].Problem.Message()))
	case c.Verdict != nil && len(c.Verdict.Differences) > 0:
		s := oneLine(headDifference(c.Verdict).Message)
		if a := c.Verdict.Answer; a != nil && c.Verdict.InAnswer()(headDifference(c.Verdict)) {
			// The deltas differ because of what the model said.
			if list, _ := findings(c.Verdict, 1); len(list) > 0 && list[0].Title != "" {
				s = oneLine(list[0].summary())
			}
		}
		if n := len(c.Verdict.Differences) + c.Verdict.More - 1; n > 0 {
			s += ", and " + Plural(n, "more difference")
		}
		return s
	case len(c.NotMade) > 0:
		return oneLine(fmt.Sprintf("call %d was not made: %s %s", c.NotMade[0].Number, c.NotMade[0].Method, c.NotMade[0].URL))
	case len(c.Left) > 0:
		return oneLine(fmt.Sprintf("call %d was broken off by the app, and was recorded to its end: %s %s", c.Left[0].Number, c.Left[0].Method, c.Left[0].URL))
	case c.Reason != "":
		return oneLine(c.Reason)
	}
	return string(c.Status)
}

// headDifference is the one that explains most: a wrong status before a wrong
// body, and a header last.
func headDifference(v *compare.Verdict) *compare.Difference {
	rank := func(d *compare.Difference) int {
		order := []compare.Kind{compare.Recording, compare.Status, compare.Ended, compare.Buffered}
		switch i := slices.Index(order, d.Kind); {
		case i >= 0:
			return i
		case d.Kind == compare.Header || d.Kind == compare.Trailer:
			return len(order) + 1
		}
		return len(order)
	}
	head := &v.Differences[0]
	for i := range v.Differences {
		if d := &v.Differences[i]; rank(d) < rank(head) {
			head = d
		}
	}
	return head
}

// Plural is a count with its word: "1 call", "2 misses".
func Plural(n int, word string) string {
	switch {
	case n == 1:
		return "1 " + word
	case strings.HasSuffix(word, "s"):
		return fmt.Sprintf("%d %ses", n, word)
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// Times says how often: "once", "2 times".
func Times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// Short writes a duration with three digits or so.
func Short(d time.Duration) string {
	switch abs := d.Abs(); {
	case d == 0:
		return "0 ms"
	case abs < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case abs < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1e3)
	case abs < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case abs < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// Size writes a number of bytes with decimal prefixes.
func Size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// totals are the parts of a summary line, in the words that cases begin with.
func totals(r *Run) []string {
	n := r.Count()
	var parts []string
	add := func(n int, text string) {
		if n > 0 {
			parts = append(parts, text)
		}
	}
	add(n.Fail, fmt.Sprintf("%d fail", n.Fail))
	add(n.Error, Plural(n.Error, "error"))
	if n.Cases > 0 || len(r.Errors) == 0 { // else COMMAND ran in the place of cases
		parts = append(parts, fmt.Sprintf("%d pass", n.Pass-n.Rerecorded))
	}
	add(n.Skipped, fmt.Sprintf("%d skip", n.Skipped))
	add(n.Rerecorded, fmt.Sprintf("%d new", n.Rerecorded))
	add(n.Misses, Plural(n.Misses, "miss"))
	add(n.PassedOn, Plural(n.PassedOn, "call")+" passed through")
	add(n.Recorded, Plural(n.Recorded, "call")+" newly recorded")
	add(len(r.Errors), Plural(len(r.Errors), "problem"))
	return parts
}

// answerFollows stands for what differs in the answer of a case whose calls were
// missed: the app answers with what it made of a 502.
func answerFollows(v *compare.Verdict) string {
	n := v.More
	for i := range v.Differences {
		n += 1 + v.Differences[i].Run + v.Differences[i].Follow
	}
	if n == 1 {
		return "1 difference in the answer follows from it, most likely"
	}
	return Plural(n, "difference") + " in the answer follow from it, most likely"
}
