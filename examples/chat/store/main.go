// The example's internal service: it keeps the questions that were asked. Calls
// to it stay inside the project, so wiretape neither records nor answers them.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"sync"
)

func main() {
	var mu sync.Mutex
	questions := []json.RawMessage{}
	http.HandleFunc("POST /questions", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil || !json.Valid(b) {
			http.Error(w, "not JSON", http.StatusBadRequest)
			return
		}
		mu.Lock()
		questions = append(questions, b)
		mu.Unlock()
		w.WriteHeader(http.StatusCreated)
	})
	http.HandleFunc("GET /questions", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		json.NewEncoder(w).Encode(questions)
	})
	log.Fatal(http.ListenAndServe(":8081", nil))
}
