package runner

import (
	"iter"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// outgoing is the recorded request as it is sent again.
func (e *exchange) outgoing() *httpstream.Outgoing {
	q := &e.x.Request
	_, authority, _, _ := httpstream.SplitURL(q.URL)
	out := &httpstream.Outgoing{
		Head: &httpstream.RequestHead{
			Proto: q.Proto, Method: q.Method, Target: httpstream.OriginForm(q.Method, q.URL),
			Scheme: "http", Authority: authority, Header: e.fields(),
		},
		Data:    q.Body.Data,
		Trailer: func() httpstream.Fields { return q.Trailer },
		Proceed: e.proceed,
	}
	if q.Body.InStream {
		out.Data, out.Stream = nil, e.body()
	}
	return out
}

// fields are the request's, with the credentials that Options.Headers has.
func (e *exchange) fields() httpstream.Fields {
	fs := append(httpstream.Fields(nil), e.x.Request.Header...)
	for i := range fs {
		if !strings.Contains(fs[i].Value, tape.Redacted) {
			continue
		}
		if v := e.replacement(fs[i].Name); v != "" {
			fs[i].Value = v
		}
	}
	return fs
}

func (e *exchange) replacement(name string) string {
	for n, v := range e.opt.Headers {
		if strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

// body gives the pieces of a request body that is in the recorded stream.
func (e *exchange) body() iter.Seq2[httpstream.Chunk, error] {
	return func(yield func(httpstream.Chunk, error) bool) {
		stream, err := e.opt.Tape.Stream(e.x)
		if err != nil {
			yield(httpstream.Chunk{}, err)
			return
		}
		defer stream.Close()
		for line, err := range stream.Lines() {
			switch {
			case err != nil:
				yield(httpstream.Chunk{}, err)
				return
			case line.End != nil:
				return
			case line.FromClient && !yield(line.Chunk, nil):
				return
			}
		}
	}
}
