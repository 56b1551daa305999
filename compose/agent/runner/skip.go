package runner

import (
	"strconv"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// whySkipped says why a case can't be sent again; "" if it can.
func whySkipped(x *tape.Exchange, c *report.CaseResult) string {
	switch {
	case x.Request.Method == "":
		return "no request was recorded: " + x.Failed
	case x.Request.TLS != "":
		return "it came over TLS that the service ends itself"
	case x.Response != nil && x.Response.Head.Status == 101:
		return "it changes the protocol (" + upgradeOf(x) + "), and two-way streams are not sent again"
	case x.Request.Method == "CONNECT", x.Request.Protocol != "":
		return "it is a tunnel, and two-way streams are not sent again"
	case !complete(x):
		return "the client went away before its request was complete"
	case x.Response == nil && c.Answer.Recorded.How == string(httpstream.Cancelled):
		return "the client went away before the app answered"
	case x.Response == nil && c.Answer.Recorded.How == string(httpstream.Open):
		return "the recording ended before the app answered"
	case x.TwoWay:
		return "the app answered before the request was complete, and two-way streams are not sent again"
	}
	return ""
}

func upgradeOf(x *tape.Exchange) string {
	if p := x.Response.Head.Header.Get("Upgrade"); p != "" {
		return p
	}
	return "101"
}

// complete tells whether the body is as long as the head says.
func complete(x *tape.Exchange) bool {
	length := x.Request.Header.Get("Content-Length")
	if length == "" || x.Request.Header.Has("Transfer-Encoding") {
		return true
	}
	n, err := strconv.ParseInt(length, 10, 64)
	return err != nil || n == x.Request.Body.Size
}
