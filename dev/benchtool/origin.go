//go:build linux

package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	roleOrigin = "origin"
	// sentField says when the head left, in nanoseconds of the monotonic clock.
	sentField = "X-Sent"
	// blobChunk is how many bytes of a large stream the origin writes at once.
	blobChunk = 16 << 10
	// headPause is how long after its head an answer to /head goes on.
	headPause = 10 * time.Millisecond
)

// serverFlags are those of origin and floor: with a certificate they speak
// HTTP/2 over TLS.
type serverFlags struct{ listen, cert, key string }

func (s *serverFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&s.listen, "listen", "", "`host:port` to listen on, a free port of loopback if empty")
	flags.StringVar(&s.cert, "cert", "", "certificate `file`")
	flags.StringVar(&s.key, "key", "", "key `file`")
}

// serve serves h, and says where.
func (s *serverFlags) serve(h http.Handler) error {
	l, err := listen(s.listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h}
	if s.cert != "" {
		return server.ServeTLS(l, s.cert, s.key)
	}
	return server.Serve(l)
}

// listen listens at an address, or on a free port of loopback, and says where.
func listen(addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err == nil {
		fmt.Println(servingOn, l.Addr())
	}
	return l, err
}

// runOrigin is the server that is recorded.
func runOrigin(args []string) error {
	flags := flag.NewFlagSet(roleOrigin, flag.ContinueOnError)
	var s serverFlags
	s.add(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	clk, err := newClock()
	if err != nil {
		return err
	}
	o := origin{clk}
	mux := http.NewServeMux()
	mux.HandleFunc("/stream/{seed}", o.stream)
	mux.HandleFunc("/head", o.head)
	mux.HandleFunc(chatPath, o.chat)
	mux.HandleFunc("/drip/{number}", o.drip)
	mux.HandleFunc("/blob/file", o.file)
	mux.HandleFunc("/blob/{kind}", o.blob)
	return s.serve(mux)
}

type origin struct{ clock clock }

func (o origin) begin(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set(sentField, strconv.FormatInt(o.clock.now(), 10))
	w.(http.Flusher).Flush()
}

// stream sends a schedule: /stream/SEED?length=DURATION.
func (o origin) stream(w http.ResponseWriter, r *http.Request) {
	arrived := o.clock.now()
	seed, err := strconv.ParseUint(r.PathValue("seed"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	length, err := time.ParseDuration(r.FormValue("length"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s := newSchedule(seed, length)
	time.Sleep(o.clock.until(arrived + int64(s.head)))
	o.begin(w)
	var buf []byte
	for n, at := range s.chunks {
		time.Sleep(o.clock.until(arrived + int64(at)))
		buf = appendEvent(buf[:0], n, o.clock.now())
		if _, err := w.Write(buf); err != nil {
			return
		}
		w.(http.Flusher).Flush()
	}
}

// head sends a head at once, and the body after a pause.
func (o origin) head(w http.ResponseWriter, _ *http.Request) {
	o.begin(w)
	time.Sleep(headPause)
	w.Write(appendEvent(nil, 0, o.clock.now()))
}

// drip sends one event every dripEvery: /drip/NUMBER?events=N.
func (o origin) drip(w http.ResponseWriter, r *http.Request) {
	events, err := strconv.Atoi(r.FormValue("events"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.begin(w)
	for n := range events {
		if sleep(r.Context(), dripEvery) != nil {
			return
		}
		if _, err := w.Write(appendEvent(nil, n, o.clock.now())); err != nil {
			return
		}
		w.(http.Flusher).Flush()
	}
}

// file sends a download of a length: /blob/file?size=BYTES.
func (o origin) file(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseInt(r.FormValue("size"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	block := bytes.Repeat([]byte("\xff\x00\x80a"), 16<<10)
	for size > 0 {
		n, err := w.Write(block[:min(size, int64(len(block)))])
		if err != nil {
			return
		}
		size -= int64(n)
	}
}

// blob sends much as fast as it goes: /blob/text?size=BYTES or /blob/binary.
func (o origin) blob(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseInt(r.FormValue("size"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	chunk := bytes.Repeat([]byte("\xff\x00\x80a"), blobChunk/4)
	if r.PathValue("kind") == "text" {
		chunk = []byte(strings.Repeat("data: {\"delta\":\" the\"}\n\n", blobChunk/24+1)[:blobChunk])
	}
	o.begin(w)
	for size > 0 {
		n, err := w.Write(chunk[:min(size, int64(len(chunk)))])
		if err != nil {
			return
		}
		w.(http.Flusher).Flush()
		size -= int64(n)
	}
}
