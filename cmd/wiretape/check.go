package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/noise"
	mitmtls "github.com/wiretape/wiretape/tls"
)

const (
	// manyDifferences are as many as a suggestion may want to see.
	manyDifferences = 10_000
	// checkRounds is how often the tape is played at most: once more wherever rules for
	// requests were found, since what comes behind a miss says nothing.
	checkRounds = 8
)

// A checker plays a tape, and finds what changes by itself.
type checker struct {
	r    *reporter
	opt  compose.Options
	cfg  config
	file string // wiretape.yaml
	doc  yaml.Node
	// noise is the value of noise in doc. trial has the rules as well that may not be
	// written, so that what comes behind them is found in the same run.
	noise, trial *yaml.Node
	added        int
	unsure       int             // rules that were shown and not written
	shown        map[string]bool // by glob and rule
}

// checkRecording is record --check.
func checkRecording(ctx context.Context, o checkOptions, io streams) error {
	if ctx.Err() != nil { // Ctrl-C ended the recording, and the next ends the check
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt)
		defer stop()
	}
	k, t, err := newChecker(ctx, o, io)
	defer k.r.close()
	defer t.close()
	if err != nil {
		return err
	}
	if len(t.Cases) == 0 {
		k.r.note("nothing to check: no case was recorded")
		return nil
	}
	return k.check(ctx, t)
}

// runCheck is check.
func runCheck(ctx context.Context, o checkOptions, io streams) error {
	k, t, err := newChecker(ctx, o, io)
	defer k.r.close()
	defer t.close()
	if err != nil {
		return err
	}
	if len(t.Cases) == 0 {
		return usagef("record some through the published ports", "the tape %s has no cases to send", t.name())
	}
	err = k.check(ctx, t)
	if ctx.Err() != nil {
		return &event.Problem{Kind: event.Interrupted, Err: errInterrupted, Next: "nothing was written; run it again, to its end"}
	}
	return err
}

func newChecker(ctx context.Context, o checkOptions, io streams) (*checker, *placedTape, error) {
	k := &checker{r: newReporter(io.out, o.output), shown: make(map[string]bool)}
	if err := k.prepare(o); err != nil {
		return k, nil, err
	}
	t, err := openTape(ctx, k.opt.Tape)
	return k, t, err
}

// check plays the tape until no more is found.
func (k *checker) check(ctx context.Context, t *placedTape) error {
	k.r.note("checking: playing %s twice against the tape", report.Plural(len(t.Cases), "case"))
	var left []*report.CaseResult
	for round := range checkRounds {
		if round > 0 { // what there is to warn of was said
			k.opt.Progress = nil
			k.r.note("once more, with the rules for requests that were found")
		}
		results, err := k.play(ctx, t)
		if err != nil {
			return err
		}
		again := k.learnRequests(results)
		differ, blocked := k.learnAnswers(results)
		left = append(left, differ...)
		if !again || round == checkRounds-1 {
			left = append(left, blocked...)
			break
		}
	}
	return k.conclude(t, left)
}

func (k *checker) prepare(o checkOptions) error {
	var err error
	play := asRecorded(o.sessionOptions)
	if k.opt, k.cfg, err = play.forReplay(o.tape, k.r); err != nil {
		return err
	}
	k.opt.Reuse = true
	if k.opt.Root, err = mitmtls.LoadOrCreateRoot(""); err != nil {
		return err
	}
	k.file = k.cfg.path()
	return k.load()
}

// load reads wiretape.yaml with its comments, and finds or makes noise in it.
func (k *checker) load() error {
	data, err := os.ReadFile(k.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := yaml.Unmarshal(data, &k.doc); err != nil {
		return configError(k.file, err)
	}
	if k.doc.Kind == 0 {
		k.doc = yaml.Node{Kind: yaml.DocumentNode}
	}
	if len(k.doc.Content) == 0 || k.doc.Content[0].Kind != yaml.MappingNode {
		k.doc.Content = []*yaml.Node{{Kind: yaml.MappingNode}}
	}
	top := k.doc.Content[0]
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == "noise" {
			k.noise = top.Content[i+1]
			return k.try()
		}
	}
	k.noise = &yaml.Node{Kind: yaml.MappingNode}
	top.Content = append(top.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "noise"}, k.noise)
	return k.try()
}

// try makes trial a copy of noise.
func (k *checker) try() error {
	text, err := yaml.Marshal(k.noise)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return err
	}
	if k.trial = (&yaml.Node{Kind: yaml.MappingNode}); len(doc.Content) > 0 {
		k.trial = doc.Content[0]
	}
	return nil
}

// play plays all cases twice in one session.
func (k *checker) play(ctx context.Context, t *placedTape) ([]*report.CaseResult, error) {
	opt := k.opt
	text, err := yaml.Marshal(k.trial)
	if err != nil {
		return nil, err
	}
	opt.Noise = string(text)
	headers, err := k.cfg.Test.expand(k.file)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var results []*report.CaseResult
	opt.Message = func(m agent.FromAgent) {
		switch {
		case m.Running != 0:
			k.r.cases.begins(m.Running)
		case m.Result != nil:
			k.r.cases.ends(m.Result.Number)
		}
		if m.Result == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		results = append(results, m.Result)
	}
	run := &agent.Run{
		TapeName: t.name(), Headers: headers, Limits: k.cfg.limits, TimeLimit: k.cfg.Test.TimeLimit,
		MaxDifferences: manyDifferences,
	}
	for _, x := range t.Cases {
		run.Cases = append(run.Cases, x.Number)
	}
	_, err = compose.Run(ctx, opt, func(ctx context.Context, s *compose.Session) error {
		for range 2 {
			k.r.cases.start(t, run.Cases, 1)
			reply, err := s.Request(ctx, agent.ToAgent{Run: run})
			if err == nil && reply.Error != "" {
				err = errors.New(reply.Error)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	return results, err
}

// learnRequests finds rules for what changes in the requests that the app sends,
// and reports whether there are new ones, be they written or not.
func (k *checker) learnRequests(results []*report.CaseResult) bool {
	var changes []noise.Change
	for _, c := range results {
		for _, m := range c.Misses {
			if m.Used > 0 {
				continue
			}
			for _, d := range m.Differences {
				if d.Credential { // no app loses its key by itself
					continue
				}
				for _, rule := range noise.RequestRules(d.Where, d.Recorded, d.Now) {
					changes = append(changes, noise.Change{Rule: &rule, Recorded: d.Recorded, Now: d.Now, Count: 1})
				}
			}
		}
	}
	return k.add("", noise.Suggest(changes))
}

// learnAnswers finds rules for what changes in the answers. It returns the results in
// which something differs that no written rule leaves out, and those that say nothing
// of the answer, because of the calls. Rules for headers are for all cases, those for
// bodies for cases of that name, whatever their number.
func (k *checker) learnAnswers(results []*report.CaseResult) (differ, blocked []*report.CaseResult) {
	byName := make(map[string][]*compare.Verdict)
	var names []string
	for _, c := range results {
		c.Conclude(&report.Run{})
		if c.Status == report.Skipped || c.Status == report.Pass {
			continue
		}
		if c.Verdict == nil || len(c.Misses) > 0 || len(c.NotMade) > 0 || len(c.Left) > 0 {
			blocked = append(blocked, c)
			continue
		}
		glob := anyNumber(c.Name)
		if byName[glob] == nil {
			names = append(names, glob)
		}
		byName[glob] = append(byName[glob], c.Verdict)
		covered := 0
		for _, s := range noise.Suggest(compare.Changes(c.Verdict)) {
			if s.Known {
				covered += s.Count
			}
		}
		if covered < len(c.Verdict.Differences)+c.Verdict.More {
			differ = append(differ, c)
		}
	}
	for _, glob := range names {
		var all, own []noise.Suggestion
		for _, s := range noise.Suggest(compare.Changes(byName[glob]...)) {
			if s.Key == "response.header" {
				all = append(all, s)
			} else {
				own = append(own, s)
			}
		}
		k.add("", all)
		k.add(glob, own)
	}
	return differ, blocked
}

// anyNumber is a pattern for a case's name with any number: recorded again, it
// may have another.
func anyNumber(name string) string {
	_, rest, ok := strings.Cut(name, "-")
	if !ok || rest == "" {
		return name
	}
	return "*-" + strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(rest)
}

// add shows suggestions, tries them all from here on, and takes those that look like
// what changes by nature. It reports whether any was new.
func (k *checker) add(glob string, suggestions []noise.Suggestion) bool {
	var known []noise.Suggestion
	for _, s := range suggestions {
		if s.Known {
			known = append(known, s)
		}
		if key := glob + "\x00" + s.Key + "\x00" + s.Value; !k.shown[key] {
			k.shown[key] = true
			if !s.Known {
				k.unsure++
			}
			k.r.suggestion(glob, s)
		}
	}
	if len(known) > 0 {
		k.added += noise.AddToYAML(k.noise, glob, known)
	}
	return len(suggestions) > 0 && noise.AddToYAML(k.trial, glob, suggestions) > 0
}

func (k *checker) conclude(t *placedTape, left []*report.CaseResult) error {
	if k.added > 0 {
		if err := k.write(); err != nil {
			return err
		}
		k.r.note("wrote %s to %s", report.Plural(k.added, "noise rule"), relative(k.file))
	}
	if len(left) == 0 && k.unsure > 0 {
		return &event.Problem{
			Kind: event.Mismatch, Err: fmt.Errorf("%s left out, since what changes there may be a defect", report.Plural(k.unsure, "noise rule")),
			Next: "look at the values above; where any value is right, add the rule to " + relative(k.file) + " by hand",
		}
	}
	if len(left) == 0 {
		k.r.note("checked: the tape passes, and will while nothing else changes")
		return nil
	}
	run := &report.Run{Tapes: []string{t.name()}, Version: version, Speed: 1, Started: time.Now()}
	seen := make(map[int]bool)
	view := testRun{now: t}
	for _, c := range left {
		if seen[c.Number] {
			continue
		}
		seen[c.Number] = true
		view.localize(c)
		c.NextSteps = nil
		run.Cases = append(run.Cases, *c)
	}
	run.Conclude()
	k.r.leftOver(run)
	return &event.Problem{
		Kind: event.Mismatch, Err: fmt.Errorf("%s, played against the tape, not as recorded", report.Plural(len(seen), "case")),
		Next: "make the app's answer depend on nothing but what is recorded, or add a noise rule by hand; the tape is kept",
	}
}

// write puts wiretape.yaml in place in one step, with the user's comments.
func (k *checker) write() error {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&k.doc); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(k.file); err == nil {
		mode = info.Mode().Perm()
	}
	temp := k.file + ".new"
	if err := os.WriteFile(temp, b.Bytes(), mode); err != nil {
		return err
	}
	if err := os.Rename(temp, k.file); err != nil {
		os.Remove(temp)
		return err
	}
	return nil
}

// suggestion shows a rule before it is written.
func (r *reporter) suggestion(glob string, s noise.Suggestion) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.json {
		r.emit(struct {
			Type string `json:"type"`
			Case string `json:"case,omitempty"`
			noise.Suggestion
		}{"suggestion", glob, s})
		return
	}
	word := r.paint("32", "noise")
	if !s.Known {
		word = r.paint("33", "not written")
	}
	fmt.Fprintf(r.out, "%s  %s: %s", word, s.Key, s.Value)
	if glob != "" {
		fmt.Fprintf(r.out, "  in %s", glob)
	}
	fmt.Fprintf(r.out, "\n  %s\n", s.Comment)
	if !s.Known {
		fmt.Fprintln(r.out, "  next: look whether any value is right there; if so, add the rule to wiretape.yaml by hand")
	}
}

// leftOver shows the cases that differ for other reasons.
func (r *reporter) leftOver(run *report.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.json {
		for i := range run.Cases {
			r.emit(struct {
				Type string `json:"type"`
				*report.CaseResult
			}{"result", &run.Cases[i]})
		}
		return
	}
	fmt.Fprintln(r.out)
	_ = report.Text(r.out, run, report.TextOptions{Color: r.color, Width: columns()})
}
