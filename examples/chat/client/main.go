// The example's user: it asks the chat app one question and prints the answer
// as it streams, with the time of each piece.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	url := flag.String("url", "http://127.0.0.1:18080/chat", "the chat app")
	provider := flag.String("provider", "openai", "openai or anthropic")
	flag.Parse()
	body, err := json.Marshal(map[string]string{"provider": *provider, "message": strings.Join(flag.Args(), " ")})
	if err != nil {
		log.Fatal(err)
	}
	start := time.Now()
	resp, err := http.Post(*url, "application/json", bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		log.Fatalf("the chat app answered %s", resp.Status)
	}
	event := ""
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			event = value
		case "data":
			if event == "error" {
				log.Fatalf("the chat app: %s", value)
			}
			var data struct {
				Delta string `json:"delta"`
			}
			if err := json.Unmarshal([]byte(value), &data); err != nil {
				log.Fatal(err)
			}
			if event == "done" {
				fmt.Printf("%7.1f ms  (%s: done)\n", ms(start), *provider)
				return
			}
			fmt.Printf("%7.1f ms  %q\n", ms(start), data.Delta)
		}
	}
	log.Fatal("the answer ended before its last event: ", lines.Err())
}

func ms(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }
