// App is what runs in the containers of this package's scripts.
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	if d, err := time.ParseDuration(os.Getenv("DELAY")); err == nil {
		time.Sleep(d)
	}
	handler := app
	port := ":8080"
	if os.Args[1] == "origin" {
		handler, port = origin, ":80"
	}
	go http.ListenAndServe(port, http.HandlerFunc(handler))
	<-ended
}

// app answers with what api.example.com says to each of ASK in turn.
func app(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	if s := os.Getenv("COOKIE"); s != "" {
		w.Header().Set("Set-Cookie", s)
	}
	// What changes by itself, as ASK says.
	now := strings.NewReplacer("UUID", uuid(), "WORD", uuid()[:5], "UNIX", fmt.Sprint(time.Now().Unix()), "DAY", time.Now().Format("2006-01-02T15:04:05Z"))
	strict := os.Getenv("STRICT") != ""
	for name := range strings.SplitSeq(os.Getenv("ASK"), ",") {
		resp, err := http.Get("http://api.example.com/" + now.Replace(name) + r.URL.RequestURI())
		if err != nil {
			fmt.Fprintf(w, "data: %s: %v\n\n", name, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		step, _, _ := strings.Cut(name, "?")
		if strict && resp.StatusCode != 200 {
			fmt.Fprintf(w, "data: gave up at %s\n\n", step)
			return
		}
		if !strict {
			fmt.Fprintf(w, "data: %s: %d %s\n\n", step, resp.StatusCode, body)
		}
		w.(http.Flusher).Flush()
	}
	if strict {
		fmt.Fprintf(w, "data: {\"id\":%q}\n\n", uuid())
	}
	if d, err := time.ParseDuration(r.FormValue("wait")); err == nil {
		time.Sleep(d)
	}
}

func uuid() string {
	b := make([]byte, 16)
	rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// origin is the outside world. It says what it was asked on standard output.
func origin(w http.ResponseWriter, r *http.Request) {
	fmt.Println("asked for", r.URL)
	w.Header().Set("Set-Cookie", "sid=live-cookie-value; Path=/")
	for i := range 3 {
		fmt.Fprintf(w, "%d of %s;", i, r.URL.Path)
		w.(http.Flusher).Flush()
		time.Sleep(20 * time.Millisecond)
	}
}
