// App is what runs in the containers of this package's tests.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	switch os.Args[1] {
	case "web": // calls the URL that is asked for
		if url := os.Getenv("CALL_FIRST"); url != "" {
			body, err := get(url)
			fmt.Println("first call:", body, err)
		}
		go http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := get(r.FormValue("url"))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			fmt.Fprintf(w, "web says: %s", body)
		}))
	case "relay": // passes on what it gets, line by line, or with DEFECT set not quite so
		go http.ListenAndServe(":8080", http.HandlerFunc(relay))
	case "origin": // streams
		go http.ListenAndServe(":80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := 3
			if more, err := strconv.Atoi(r.FormValue("n")); err == nil {
				n = more
			}
			for i := range n {
				fmt.Fprintf(w, "chunk %d of %s\n", i, r.URL.Path)
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}))
	case "leak": // sends all that it can to the addresses, and to the host
		go leak(os.Args[2:])
	case "sleep":
	case "say": // and end with a status
		fmt.Println(os.Args[3])
		code, _ := strconv.Atoi(os.Args[2])
		os.Exit(code)
	case "check":
		if _, err := get(os.Args[2]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	case "write":
		if err := os.WriteFile(os.Args[2], []byte(os.Args[3]), 0o644); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "read":
		data, err := os.ReadFile(os.Args[2])
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Print(string(data))
		return
	}
	<-ended
}

// relay streams what api.example.com streams. DEFECT says what is wrong with it.
func relay(w http.ResponseWriter, r *http.Request) {
	resp, err := http.Get("http://api.example.com" + r.URL.RequestURI())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	defect := os.Getenv("DEFECT")
	w.Header().Set("Content-Type", "text/event-stream")
	lines := bufio.NewScanner(resp.Body)
	for n := 0; lines.Scan(); n++ {
		switch {
		case defect == "crash" && n == 1 && r.URL.Path == "/first":
			fmt.Println("crashing for Authorization: Bearer abc")
			os.Exit(3)
		case defect == "drop" && n == 2:
			continue
		}
		fmt.Fprintf(w, "data: %s\n\n", lines.Text())
		if defect != "buffer" {
			w.(http.Flusher).Flush()
		}
	}
}

func get(url string) (string, error) {
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}
