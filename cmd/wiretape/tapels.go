package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// listOptions are those of tape ls.
type listOptions struct {
	tapeOptions
	hosts  []string // patterns
	cases  []string // globs
	failed bool
	sort   string
}

func listFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "host", Usage: "only exchanges with hosts that match `PATTERN`, such as '*.openai.com' (may be given several times)"},
		&cli.StringSliceFlag{Name: "case", Usage: "only the cases whose name matches `GLOB`, such as '0003-*', and their calls (may be given several times)"},
		&cli.BoolFlag{Name: "failed", Usage: "only exchanges without an answer, with status 400 or above, or whose answer broke off"},
		&cli.StringFlag{Name: "sort", Usage: "sort by `KEY`: time, first, status, service or url; -first begins with the highest"},
	}
}

func listOptionsOf(c *cli.Context) (listOptions, error) {
	t, err := tapeOptionsOf(c)
	o := listOptions{t, c.StringSlice("host"), c.StringSlice("case"), c.Bool("failed"), c.String("sort")}
	if err != nil {
		return o, err
	}
	if _, err := proxy.ParseHosts(o.hosts); err != nil {
		return o, usagef("for example --host api.openai.com or --host '*.example.com:8443'", "--host: %w", err)
	}
	for _, g := range o.cases {
		if _, err := path.Match(g, ""); err != nil {
			return o, usagef("quote it for the shell, as in --case '0003-*'", "--case %q is no pattern", g)
		}
	}
	if _, ok := sortKeys[strings.TrimPrefix(o.sort, "-")]; !ok && o.sort != "" {
		return o, usagef("it is time, first, status, service or url, and the other way round with - in front", "--sort can't be %q", o.sort)
	}
	return o, nil
}

// sortKeys are those of --sort. Exchanges that are alike stay as they stand on the tape.
var sortKeys = map[string]func(a, b *tape.Exchange) int{
	"time":    func(a, b *tape.Exchange) int { return cmp.Compare(a.Started, b.Started) },
	"service": func(a, b *tape.Exchange) int { return cmp.Compare(a.Service, b.Service) },
	"url":     func(a, b *tape.Exchange) int { return cmp.Compare(a.Request.URL, b.Request.URL) },
	"status":  func(a, b *tape.Exchange) int { return cmp.Compare(statusOf(a), statusOf(b)) },
	"first":   func(a, b *tape.Exchange) int { return cmp.Compare(firstOf(a), firstOf(b)) },
}

// statusOf is 0 without an answer.
func statusOf(x *tape.Exchange) int {
	if x.Response == nil {
		return 0
	}
	return x.Response.Head.Status
}

// firstOf puts an answer that did not come behind all others.
func firstOf(x *tape.Exchange) int64 {
	if x.Response == nil {
		return 1<<63 - 1
	}
	return int64(x.Response.At)
}

// chosen are the exchanges that the options choose, calls first unless they are sorted.
func (o *listOptions) chosen(t *placedTape) ([]*tape.Exchange, error) {
	policy, err := proxy.ParseHosts(o.hosts)
	if err != nil {
		return nil, err
	}
	var cases []int
	if len(o.cases) > 0 {
		var names []string
		for _, x := range t.Cases {
			name := caseName(x)
			names = append(names, name)
			if slices.ContainsFunc(o.cases, func(g string) bool { ok, _ := path.Match(g, name); return ok }) {
				cases = append(cases, x.Number)
			}
		}
		if len(cases) == 0 {
			next := "the tape has no cases"
			if len(names) > 0 {
				next = "the names are those of the files: " + someOf(names, 5)
			}
			return nil, usagef(next, "no case matches --case %s", strings.Join(o.cases, ", "))
		}
	}
	var list []*tape.Exchange
	for _, x := range append(slices.Clone(t.Calls), t.Cases...) {
		switch {
		case policy != nil && !policy.Match(hostOf(x)):
		case len(o.cases) > 0 && x.Kind == tape.Case && !slices.Contains(cases, x.Number):
		case len(o.cases) > 0 && x.Kind == tape.Call && !slices.ContainsFunc(cases, x.MayBelongTo):
		case o.failed && !failed(t.Tape, x):
		default:
			list = append(list, x)
		}
	}
	key, down := strings.CutPrefix(o.sort, "-")
	if compare := sortKeys[key]; compare != nil {
		slices.SortStableFunc(list, func(a, b *tape.Exchange) int {
			if down {
				a, b = b, a
			}
			return compare(a, b)
		})
	}
	return list, nil
}

// hostOf is the name and address of a request's host, as host patterns match them.
func hostOf(x *tape.Exchange) (string, netip.AddrPort) {
	u, err := url.Parse(x.Request.URL)
	if err != nil {
		return "", netip.AddrPort{}
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "ws": "80"}[u.Scheme]
	}
	n, err := strconv.ParseUint(cmp.Or(port, "443"), 10, 16)
	if err != nil {
		return "", netip.AddrPort{}
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return u.Hostname(), netip.AddrPortFrom(netip.Addr{}, uint16(n))
	}
	return "", netip.AddrPortFrom(addr, uint16(n))
}

// failed tells whether an exchange has no answer, one that says so, or half of one.
func failed(t *tape.Tape, x *tape.Exchange) bool {
	if x.Response == nil || x.Failed != "" || x.Response.Head.Status >= 400 {
		return true
	}
	if !x.HasStream() {
		return false
	}
	how := httpstream.Open
	err := eachLine(t, x, func(l tape.Line) error {
		if l.End != nil {
			how = l.End.How
		}
		return nil
	})
	switch how {
	case httpstream.EOF:
		return err != nil
	case httpstream.Closed, httpstream.Cancelled:
		return err != nil || !x.IsWebSocket() // which ends when one of the two closes it
	}
	return true
}

func tapeLs(ctx context.Context, o listOptions, w io.Writer) error {
	t, err := o.open(ctx)
	defer t.close()
	if err != nil {
		return err
	}
	list, err := o.chosen(t)
	if err != nil {
		return err
	}
	if o.output == forMachines {
		enc := newEncoder(w)
		for _, x := range list {
			if err := enc.Encode(t.listed(x)); err != nil {
				return err
			}
		}
		return nil
	}
	return paged(w, func(w io.Writer) error { return printList(w, t, list) })
}

func printList(w io.Writer, t *placedTape, list []*tape.Exchange) error {
	m := t.Manifest
	state := "complete"
	if !m.Complete {
		state = "incomplete"
	}
	fmt.Fprintf(w, "%s: recorded %s by wiretape %s, %s\n", t.shown(t.Dir), m.Created.Local().Format("2006-01-02 15:04"), m.By, state)
	for _, p := range m.Problems {
		fmt.Fprintf(w, "  problem: %s\n", p)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, x := range list {
		fmt.Fprintf(tw, "%s %d\t%s\t%s\t%s\n", x.Kind, x.Number, x.Service, requested(x, shorten(x.Request.URL, 72)), result(x))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if n := len(t.Calls) + len(t.Cases); len(list) < n {
		fmt.Fprintf(w, "%d of %d exchanges\n", len(list), n)
	}
	var errs []error
	for _, o := range m.Opaque {
		_, err := fmt.Fprintln(w, opaqueLine(&o))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func opaqueLine(o *tape.Opaque) string {
	s := "not recorded: " + o.Address
	if o.Service != "" {
		s += " from " + o.Service
	}
	s += fmt.Sprintf(", %s (%s)", report.Times(o.Count), o.Reason)
	if o.Bytes > 0 {
		s += ", " + report.Size(o.Bytes)
	}
	return s
}

func outcome(x *tape.Exchange) string {
	switch {
	case x.Failed != "":
		return x.Failed
	case x.Response == nil:
		return "no answer"
	}
	return strconv.Itoa(x.Response.Head.Status)
}

// result is the outcome, and when an answer began.
func result(x *tape.Exchange) string {
	if x.Response == nil {
		return shorten(outcome(x), 72)
	}
	return outcome(x) + "  first " + report.Short(x.Response.At)
}

// requested puts the method in front of the target; a call that failed before
// there was a request has none.
func requested(x *tape.Exchange, target string) string {
	return strings.TrimLeft(x.Request.Method+" "+target, " ")
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// A listing is one exchange in tape ls --json.
type listing struct {
	Kind    tape.Kind `json:"kind"`
	Number  int       `json:"number"`
	Service string    `json:"service,omitempty"`
	Case    int       `json:"case,omitempty"`
	Method  string    `json:"method,omitempty"`
	URL     string    `json:"url"`
	Status  int       `json:"status,omitempty"`
	FirstUS int64     `json:"first_us,omitempty"`
	Failed  string    `json:"failed,omitempty"`
	File    string    `json:"file"`
	Stream  string    `json:"stream,omitempty"`
}

func (p *placedTape) listed(x *tape.Exchange) listing {
	l := listing{
		Kind: x.Kind, Number: x.Number, Service: x.Service, Case: x.Case, Method: x.Request.Method, URL: x.Request.URL,
		Failed: x.Failed, File: p.shown(x.File), Stream: x.Stream,
	}
	if x.Response != nil {
		l.Status, l.FirstUS = x.Response.Head.Status, x.Response.At.Microseconds()
	}
	return l
}
