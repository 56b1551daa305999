package runner

import (
	"io"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/record"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestWhatIsRecordedAnewPassesTheNextTime(t *testing.T) {
	var text atomic.Value
	text.Store("old")
	app := plain(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/same":
			io.WriteString(w, "same")
		case "/gone":
			if text.Load() == "new" {
				panic(http.ErrAbortHandler)
			}
		default:
			io.WriteString(w, text.Load().(string))
		}
	})
	tp := recordTape(t, app, nil, func(base string, begin func(int)) {
		for i, path := range []string{"/a", "/same", "/gone"} {
			begin(i + 1)
			ask(t, "POST", "http://"+base+path, "q", "Authorization", "Bearer s3cret")
		}
	})
	text.Store("new")
	scratch := filepath.Join(t.TempDir(), "again")
	w, err := tape.Create(scratch, tape.Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, tp, app)
	r.opt.Record = func(x *tape.Exchange) *Retake {
		rec := record.New(record.Options{CasesFrom: x.Number}, func(rec tape.Record) error {
			rec.ID = int64(x.Number)
			return w.Apply(rec)
		})
		_, authority, _, _ := httpstream.SplitURL(x.Request.URL)
		return &Retake{
			Sink:  rec.Conn(record.Conn{Kind: tape.Case, Service: x.Service, Scheme: "http", Authority: authority}),
			Close: func() error { return rec.Close(t.Context()) },
		}
	}
	var remove, add []*tape.Exchange
	for i, c := range r.run(t) {
		if want := i == 0; c.Rerecorded != want {
			t.Errorf("case %d: rerecorded %v; %s", c.Number, c.Rerecorded, describe(&c))
		}
		if c.Rerecorded {
			remove = append(remove, tp.Cases[i])
		}
	}
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	from, err := tape.Open(scratch)
	if err != nil {
		t.Fatal(err)
	}
	add = from.Cases[:1]
	if err := tape.Patch(tp.Dir, remove, from, add); err != nil {
		t.Fatal(err)
	}
	again, err := tape.Open(tp.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if problems := again.Verify(); problems != nil {
		t.Fatal(problems)
	}
	if was, is := tp.Cases[0].Request, again.Cases[0].Request; was.URL != is.URL || was.Header.Get("Authorization") != is.Header.Get("Authorization") {
		t.Errorf("the request is %v, was %v", is, was)
	}
	var got []report.Status
	for _, c := range newRig(t, again, app).run(t) {
		got = append(got, c.Status)
	}
	if len(got) != 3 || got[0] != report.Pass || got[1] != report.Pass || got[2] != report.Fail {
		t.Error(got)
	}
}
