package http1

import (
	"bufio"
	"io"
	"iter"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
)

// Outgoing is a request that was read in any protocol as one to send in HTTP/1, its
// body as it comes.
func Outgoing(req *httpstream.Request) (*httpstream.Outgoing, error) {
	head, body, err := translatedRequest(req)
	if err != nil {
		return nil, err
	}
	return &httpstream.Outgoing{
		Head:   head,
		Stream: bodyPieces(body),
		Trailer: func() httpstream.Fields {
			_, trailer := req.Complete()
			return trailer
		},
	}, nil
}

// bodyPieces gives a body as it comes. The head does not wait for it.
func bodyPieces(body io.Reader) iter.Seq2[httpstream.Chunk, error] {
	return func(yield func(httpstream.Chunk, error) bool) {
		if !yield(httpstream.Chunk{}, nil) {
			return
		}
		buf := make([]byte, readSize)
		for {
			n, err := body.Read(buf)
			if n > 0 && !yield(httpstream.Chunk{Data: buf[:n]}, nil) {
				return
			}
			if err != nil {
				if err != io.EOF {
					yield(httpstream.Chunk{}, err)
				}
				return
			}
		}
	}
}

// translatedRequest is a request's head in HTTP/1, with the framing of its body.
func translatedRequest(req *httpstream.Request) (*httpstream.RequestHead, io.Reader, error) {
	head := *req.Head
	if req.Head.Proto != "HTTP/2.0" {
		if head.Header.Has("Upgrade") || head.Header.Has("HTTP2-Settings") {
			head.Header = withoutUpgrade(head.Header)
		}
		return &head, req.Body, nil
	}
	head.Proto = "HTTP/1.1"
	head.Header = translatedFields(req.Head)
	if head.Header.Has("Content-Length") {
		return &head, req.Body, nil
	}
	body := bufio.NewReader(req.Body)
	switch _, err := body.Peek(1); {
	case err == io.EOF: // it has none
	case err != nil:
		return nil, nil, err
	default:
		head.Header = append(head.Header, httpstream.Field{Name: "Transfer-Encoding", Value: "chunked"})
	}
	return &head, body, nil
}

// translatedFields are the header fields of an HTTP/2 request in HTTP/1.1: with a Host
// field (RFC 9113 section 8.3.1), and the cookies in one field (section 8.2.3).
func translatedFields(head *httpstream.RequestHead) httpstream.Fields {
	fields := httpstream.Fields{{Name: "Host", Value: head.Authority}}
	cookies := strings.Join(head.Header.Values("Cookie"), "; ")
	for _, f := range head.Header {
		switch {
		case strings.EqualFold(f.Name, "Host"):
			continue
		case strings.EqualFold(f.Name, "Cookie"):
			if cookies == "" {
				continue
			}
			f.Value, cookies = cookies, ""
		}
		fields = append(fields, f)
	}
	return fields
}

// withoutUpgrade takes back an offer of HTTP/2, and what came with it on this
// connection (RFC 7540 section 3.2.1): the answer would come in frames.
func withoutUpgrade(header httpstream.Fields) httpstream.Fields {
	offer := func(name string) bool {
		return strings.EqualFold(name, "Upgrade") || strings.EqualFold(name, "HTTP2-Settings")
	}
	var fields httpstream.Fields
	for _, f := range header {
		if offer(f.Name) {
			continue
		}
		if strings.EqualFold(f.Name, "Connection") {
			var left []string
			for name := range strings.SplitSeq(f.Value, ",") {
				if name = strings.Trim(name, " \t"); name != "" && !offer(name) {
					left = append(left, name)
				}
			}
			if len(left) == 0 {
				continue
			}
			f.Value = strings.Join(left, ", ")
		}
		fields = append(fields, f)
	}
	return fields
}
