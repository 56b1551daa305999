package report

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/noise"
)

const (
	// defaultTape is what commands use without --tape.
	defaultTape = "tapes/default"
	configFile  = "wiretape.yaml"
	// maxUnsure is how many rules are suggested for values that don't look like
	// something that changes by itself.
	maxUnsure = 2
)

// nextSteps says what to do about a case: why it may fail, where to look, how to
// leave it out, and how to take the new answer.
func nextSteps(r *Run, c *CaseResult) []Step {
	if c.Rerecorded {
		return []Step{{"see what changed on the tape, then commit it", "git diff -- " + ShellQuote(c.Tape)}}
	}
	if c.Error != "" {
		return []Step{
			c.watch(r),
			{"then try just this case again", c.command(r)},
		}
	}
	var steps []Step
	if c.Verdict != nil {
		for i := range c.Verdict.Differences {
			if c.Verdict.Differences[i].Kind == compare.Recording {
				return []Step{
					{"see what is wrong with the tape", "wiretape tape verify " + ShellQuote(c.Tape)},
					{"then record the case again", c.command(r, "--update")},
				}
			}
		}
	}
	for i := range c.Misses {
		steps = append(steps, missSteps(&c.Misses[i], c.command(r, "--update", "--on-miss", "record"))...)
	}
	if failing(c.Misses) > 0 {
		// Whatever else is wrong may follow from the 502 that the app got: neither
		// that answer nor a rule that ignores it belongs on the tape.
		return distinct(steps)
	}
	if len(c.Unlike) > 0 {
		// Nor may it be the app's answer that is to be mended.
		return distinct(append(steps, lookSteps(c)...))
	}
	if c.Verdict != nil {
		steps = append(steps, shapeSteps(r, c)...)
	}
	steps = append(steps, lookSteps(c)...)
	if c.Verdict != nil {
		steps = append(steps, noiseSteps(c.Verdict)...)
	}
	if failed := c.Verdict != nil && !c.Verdict.Pass; (failed || len(c.NotMade) > 0) && !c.cutShort() {
		steps = append(steps, Step{"if the app is right now, take the new answer", c.command(r, "--update")})
	}
	return distinct(steps)
}

// command is the one that plays just this case.
func (c *CaseResult) command(r *Run, flags ...string) string {
	words := []string{"wiretape", "compose", "test"}
	words = append(words, r.Flags...)
	if path.Clean(filepath.ToSlash(c.Tape)) != defaultTape && c.Tape != "" {
		words = append(words, "--tape", c.Tape)
	}
	words = append(words, flags...)
	words = append(words, "--case", globQuote(c.Name))
	return shellJoin(words)
}

// watch shows what the app says in a session of its own: when a test is over, its
// containers are gone, and their logs are.
func (c *CaseResult) watch(r *Run) Step {
	replay := append([]string{"wiretape", "compose", "replay"}, r.Flags...)
	if path.Clean(filepath.ToSlash(c.Tape)) != defaultTape && c.Tape != "" {
		replay = append(replay, "--tape", c.Tape)
	}
	logs := append([]string{"docker", "compose"}, r.Flags...)
	logs = append(logs, "logs", "--follow")
	if c.Service != "" {
		logs = append(logs, c.Service)
	}
	return Step{
		"see what the app says: play its calls in one terminal, follow its log in another, and send the request",
		shellJoin(replay) + "\n" + shellJoin(logs),
	}
}

// cutShort tells whether the app has no answer to its end that a tape could take:
// it hangs, or resets the connection.
func (c *CaseResult) cutShort() bool {
	return c.Verdict != nil && slices.ContainsFunc(c.Verdict.Differences, func(d compare.Difference) bool {
		return d.Kind == compare.Ended && !strings.HasPrefix(d.Now, string(httpstream.EOF)) && !isStatus(d.Now)
	})
}

// isStatus tells whether a text is that of an answer's status.
func isStatus(s string) bool {
	code, _, _ := strings.Cut(s, " ")
	n, err := strconv.Atoi(code)
	return err == nil && n >= 100 && n < 1000
}

func shellJoin(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = ShellQuote(w)
	}
	return strings.Join(quoted, " ")
}

// globQuote makes a pattern (path.Match) that matches just this name.
func globQuote(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// lookSteps names the files that hold what was recorded.
func lookSteps(c *CaseResult) []Step {
	var steps []Step
	if c.Verdict != nil && !c.Verdict.Pass {
		file := c.File
		if c.Stream != "" && slices.ContainsFunc(c.Verdict.Differences, inBody) {
			file = c.Stream
		}
		if file != "" {
			steps = append(steps, Step{"look at what was recorded", ShellQuote(file)})
		}
	}
	for _, u := range c.Unlike {
		if u.File != "" && len(steps) < maxUnsure {
			steps = append(steps, Step{fmt.Sprintf("look at call %d; %s", u.Number, u.Problem.Next), ShellQuote(u.File)})
		}
	}
	for _, ref := range c.Left {
		if ref.File != "" && len(steps) < maxUnsure {
			steps = append(steps, Step{fmt.Sprintf("look at call %d, which the app broke off", ref.Number), ShellQuote(ref.File)})
		}
	}
	for _, ref := range c.NotMade {
		if ref.File != "" {
			steps = append(steps, Step{fmt.Sprintf("look at call %d, which was not made", ref.Number), ShellQuote(ref.File)})
		}
		if len(steps) > maxUnsure {
			break
		}
	}
	return steps
}

func inBody(d compare.Difference) bool {
	switch d.Kind {
	case compare.Status, compare.Header, compare.Interim:
		return false
	}
	return true
}

// shapeSteps are for answers that come as they should, but when they should not.
func shapeSteps(r *Run, c *CaseResult) []Step {
	var steps []Step
	for i := range c.Verdict.Differences {
		d := &c.Verdict.Differences[i]
		switch d.Kind {
		case compare.Buffered:
			steps = append(steps,
				Step{Do: "look for what holds the answer back: a missing flush, a reverse proxy or a compressor that buffers (X-Accel-Buffering: no), a loop that collects before it sends"},
				Step{"if it need not stream, add under shape in " + configFile, "buffered: false"})
		case compare.SlowFirst:
			recorded, now := c.Verdict.Recorded.First, c.Verdict.Now.First
			if d.Where == compare.AtHead {
				recorded, now = c.Verdict.Recorded.Head, c.Verdict.Now.Head
			}
			steps = append(steps, slowSteps(c, "first_event", 3, recorded, now)...)
		case compare.SlowGap:
			steps = append(steps, slowSteps(c, "longest_gap", 3, c.Verdict.Recorded.Gap(), c.Verdict.Now.Gap())...)
		case compare.Pace:
			steps = append(steps, slowSteps(c, "pace", 1.5, c.Verdict.Recorded.End-c.Verdict.Recorded.First, c.Verdict.Now.End)...)
		case compare.Ended:
			steps = append(steps, c.watch(r))
		}
	}
	return steps
}

func slowSteps(c *CaseResult, key string, ratio float64, recorded, now time.Duration) []Step {
	look := "look at what the app does in that time"
	switch c.Verdict.Delay.Where() {
	case "outside":
		look = "the time went outside: look at the calls, not at the app's own work"
	case "app":
		look = "the time went in the app: look at what it does in that time"
	}
	floor := max(500*time.Millisecond, (now-time.Duration(ratio*float64(recorded))).Truncate(time.Second)+time.Second)
	return []Step{{Do: look}, {
		"if it may take as long, add under shape in " + configFile,
		fmt.Sprintf("%s: { ratio: %g, floor: %s }", key, ratio, floor),
	}}
}

// noiseSteps are the rules that would leave the differences out: first those
// for values that look like ids and times, then a few others, with a warning.
func noiseSteps(v *compare.Verdict) []Step {
	var known, unsure []noise.Rule
	for _, s := range noise.Suggest(compare.Changes(v)) {
		if s.Known {
			known = append(known, s.Rule)
		} else {
			unsure = append(unsure, s.Rule)
		}
	}
	var steps []Step
	if len(known) > 0 {
		steps = append(steps, Step{"if this changes by itself, add under noise in " + configFile, ruleLines(known)})
	}
	if len(unsure) > 0 && len(unsure) <= maxUnsure {
		steps = append(steps, Step{"only if any value is right here, add under noise in " + configFile, ruleLines(unsure)})
	}
	return steps
}

// ruleLines writes rules as they stand under noise, one key a line.
func ruleLines(rules []noise.Rule) string {
	var keys []string
	values := map[string][]string{}
	for _, r := range rules {
		if values[r.Key] == nil {
			keys = append(keys, r.Key)
		}
		if text := yamlText(r.Value); !slices.Contains(values[r.Key], text) {
			values[r.Key] = append(values[r.Key], text)
		}
	}
	var lines []string
	for _, k := range keys {
		line := k + ": [" + strings.Join(values[k], ", ") + "]"
		if cells(line) > codeWidth { // a block list says the same
			line = k + ":\n  - " + strings.Join(values[k], "\n  - ")
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// codeWidth is how wide code may be before it is written over several lines.
const codeWidth = 66

// missSteps are for one call that no recorded one answers.
func missSteps(m *event.Miss, recordAgain string) []Step {
	if m.Answered != event.Refused {
		return nil
	}
	var steps []Step
	if m.Closest != nil && m.Closest.File != "" && m.Used == 0 {
		steps = append(steps, Step{"look at the closest recorded call", ShellQuote(m.Closest.File)})
	}
	var rules []noise.Rule
	for _, d := range m.Differences {
		found := noise.RequestRules(d.Where, d.Recorded, d.Now)
		if found == nil || m.More > 0 || d.Credential {
			rules = nil // ignoring the others alone would not make it match
			break
		}
		for _, r := range found {
			if !slices.Contains(rules, r) {
				rules = append(rules, r)
			}
		}
	}
	if len(rules) > 0 && len(rules) <= 2*maxUnsure {
		steps = append(steps, Step{"if what differs in the request changes by itself, add under noise in " + configFile, ruleLines(rules)})
	}
	return append(steps, Step{"if the app is right to ask this, add it to the tape", recordAgain})
}

// outsideSteps are for the misses while no case ran.
func outsideSteps(r *Run) []Step {
	if failing(r.Outside) == 0 {
		return nil
	}
	words := append([]string{"wiretape", "compose", "test"}, r.Flags...)
	if len(r.Tapes) == 1 && path.Clean(filepath.ToSlash(r.Tapes[0])) != defaultTape {
		words = append(words, "--tape", r.Tapes[0])
	}
	command := shellJoin(append(words, "--on-miss", "record"))
	var steps []Step
	for i := range r.Outside {
		steps = append(steps, missSteps(&r.Outside[i], command)...)
	}
	return distinct(steps)
}

// distinct leaves out steps that were said before; what takes the new state as
// right comes last.
func distinct(steps []Step) []Step {
	seen := map[Step]bool{}
	steps = slices.DeleteFunc(steps, func(s Step) bool {
		again := seen[s]
		seen[s] = true
		return again
	})
	last := func(s Step) int {
		if strings.HasPrefix(s.Code, "wiretape ") && !strings.HasPrefix(s.Code, "wiretape compose replay") {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(last(a), last(b)) })
	return steps
}
