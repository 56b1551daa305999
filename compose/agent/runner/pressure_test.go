package runner

import (
	"testing"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/compare"
)

func TestTheKernelsCountOfWaitingIsRead(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       time.Duration
		ok         bool
	}{
		{"as Linux writes it", "some avg10=26.08 avg60=49.76 avg300=35.80 total=10706230691\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", 10706230691 * time.Microsecond, true},
		{"without the line of all", "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n", 7 * time.Microsecond, true},
		{"nothing", "", 0, false},
		{"no number", "some total=x\n", 0, false},
		{"another line first", "full total=7\n", 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, ok := waitedForCPU(tc.text); got != tc.want && tc.ok || ok != tc.ok {
				t.Errorf("got %v, %v", got, ok)
			}
		})
	}
}

func TestALateTryIsCertainOnlyWhereItWasInTime(t *testing.T) {
	late := report.CaseResult{Verdict: &compare.Verdict{Differences: []compare.Difference{{Kind: compare.Buffered, Message: "buffered: it came in one burst"}}}}
	good := report.CaseResult{Verdict: &compare.Verdict{Pass: true}}
	for _, tc := range []struct {
		name    string
		try     int
		now     report.CaseResult
		certain bool
		says    string
	}{
		{"late again", 2, late, false, "sent twice: the first time, buffered: it came in one burst; the second try confirms that it is not as recorded in time"},
		{"late five times", 5, late, false, "sent 5 times, since the machine was busy: the first time, buffered: it came in one burst; the last try confirms that it is not as recorded in time"},
		{"as recorded at last", 3, good, true, "sent 3 times, since the machine was busy: the first time, buffered: it came in one burst; the last try was as recorded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if c, certain := confirm(&late, tc.now, tc.try); certain != tc.certain || c.SecondTry != tc.says {
				t.Errorf("certain: %v; %q", certain, c.SecondTry)
			}
		})
	}
}
