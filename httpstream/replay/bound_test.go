package replay

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A body for which there is no room is matched by its hash, and all room is given back.
func TestABodyWithoutRoomIsMatchedByItsHash(t *testing.T) {
	s := plainStream()
	s.x.Request = request("POST", "https://h/a")
	body := strings.Repeat("x", 1000)
	s.x.Request.Body = tape.Body{Data: []byte(body), Size: 1000, SHA256: tape.HashBody([]byte(body))}
	var handler *Handler
	full := int64(maxHeld - 100)
	bubble(t, record(t, s), 1, func(h *Handler) { handler = h; h.held.Store(full) }, func(t *testing.T, w *wire) {
		w.send(t, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"+body)
		if got := w.arrivals(); len(got) != 4 || !strings.HasPrefix(got[0], "10ms HTTP/1.1 200") {
			t.Errorf("got %q", got)
		}
		<-w.events
	})
	if held := handler.held.Load(); held != full {
		t.Errorf("%d bytes are held afterwards, want %d", held, full)
	}
}

// An unfinishedBody gives bytes, and breaks off once it was asked for more.
type unfinishedBody struct {
	left  int
	empty chan struct{}
}

func (b *unfinishedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.empty <- struct{}{}
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), b.left, 16<<10)
	copy(p, bytes.Repeat([]byte("a"), n))
	b.left -= n
	return n, nil
}

// 1,000 clients that never end their requests, with 300 MiB of bodies.
func TestUnfinishedBodiesTakeABoundedRoomInAll(t *testing.T) {
	h := &Handler{}
	const streams, size = 1000, 300 << 10
	empty, done := make(chan struct{}), make(chan struct{}, streams)
	for range streams {
		go func() {
			a := &answer{h: &connHandler{Handler: h}, ctx: context.Background(), req: &httpstream.Request{
				Head: &httpstream.RequestHead{Method: "PUT"}, Body: &unfinishedBody{size, empty},
			}}
			_, _, err := a.holdBody(DefaultMaxBody)
			if err == nil { // there was no room: the rest is hashed
				_, err = io.Copy(io.Discard, a.req.Body)
			}
			if err == nil {
				t.Error("no error")
			}
			a.release()
			done <- struct{}{}
		}()
	}
	for range streams {
		if held := h.held.Load(); held > maxHeld+streams<<14 {
			t.Errorf("%d bytes are held", held)
		}
		<-empty
	}
	for range streams {
		<-done
	}
	if held := h.held.Load(); held != 0 {
		t.Errorf("%d bytes are held afterwards", held)
	}
}
