// App is what runs in the containers of this package's tests.
package main

import (
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
	case "origin": // streams
		go http.ListenAndServe(":80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for i := range 3 {
				fmt.Fprintf(w, "chunk %d of %s\n", i, r.URL.Path)
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}))
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
