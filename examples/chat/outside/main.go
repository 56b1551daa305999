// The example's outside world: it stands in for api.openai.com and
// api.anthropic.com, and streams answers with the irregular gaps of real models.
//
//	outside certs DIR   writes a private CA (ca.pem) and a certificate for both hosts
//	outside serve DIR   answers on port 443
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"math/big"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

var hosts = []string{"api.openai.com", "api.anthropic.com"}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: outside certs|serve DIR")
	}
	dir := os.Args[2]
	var err error
	switch os.Args[1] {
	case "certs":
		err = writeCerts(dir)
	case "serve":
		http.HandleFunc("POST api.openai.com/v1/chat/completions", openAI)
		http.HandleFunc("POST api.anthropic.com/v1/messages", anthropic)
		err = http.ListenAndServeTLS(":443", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), nil)
	default:
		err = fmt.Errorf("unknown command %q: say certs or serve", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

// tokens writes an answer to the question as a model would: the same each time,
// in pieces, the first after a while and the others in bursts and pauses.
func tokens(question string, emit func(string)) {
	h := fnv.New64a()
	io.WriteString(h, question)
	rng := mathrand.New(mathrand.NewPCG(h.Sum64(), 1))
	answer := fmt.Sprintf("You asked: “%s” A stream is more than its bytes: when they arrive is half of what your users feel. ¿Verdad? 🙂", question)
	time.Sleep(time.Duration(250+rng.IntN(200)) * time.Millisecond)
	for _, piece := range strings.SplitAfter(answer, " ") {
		emit(piece)
		switch rng.IntN(6) {
		case 0: // a burst: the next piece follows at once
		case 1:
			time.Sleep(time.Duration(90+rng.IntN(160)) * time.Millisecond)
		default:
			time.Sleep(time.Duration(8+rng.IntN(35)) * time.Millisecond)
		}
	}
}

type request struct {
	Stream   bool `json:"stream"`
	Messages []struct {
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
}

// ask reads the question, a string for one host and a list of blocks for the other.
func ask(w http.ResponseWriter, r *http.Request) (string, bool) {
	var req request
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || !req.Stream || len(req.Messages) == 0 {
		http.Error(w, `{"error":{"message":"this stand-in only streams"}}`, http.StatusBadRequest)
		return "", false
	}
	if r.Header.Get("Authorization") == "" && r.Header.Get("X-Api-Key") == "" {
		http.Error(w, `{"error":{"message":"no key"}}`, http.StatusUnauthorized)
		return "", false
	}
	content := req.Messages[len(req.Messages)-1].Content
	var text string
	if json.Unmarshal(content, &text) != nil {
		var blocks []struct {
			Text string `json:"text"`
		}
		json.Unmarshal(content, &blocks)
		for _, b := range blocks {
			text += b.Text
		}
	}
	return text, true
}

func openAI(w http.ResponseWriter, r *http.Request) {
	question, ok := ask(w, r)
	if !ok {
		return
	}
	id := fmt.Sprintf("chatcmpl-%x", time.Now().UnixNano())
	created := time.Now().Unix()
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	chunk := func(delta map[string]string, finish any) {
		writeEvent(w, "", map[string]any{
			"id": id, "object": "chat.completion.chunk", "created": created, "model": "gpt-4o",
			"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}},
		})
	}
	chunk(map[string]string{"role": "assistant", "content": ""}, nil)
	tokens(question, func(s string) { chunk(map[string]string{"content": s}, nil) })
	chunk(map[string]string{}, "stop")
	io.WriteString(w, "data: [DONE]\n\n")
}

func anthropic(w http.ResponseWriter, r *http.Request) {
	question, ok := ask(w, r)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	event := func(kind string, fields map[string]any) {
		fields["type"] = kind
		writeEvent(w, kind, fields)
	}
	event("message_start", map[string]any{"message": map[string]any{
		"id": fmt.Sprintf("msg_%x", time.Now().UnixNano()), "type": "message", "role": "assistant",
		"model": "claude-sonnet-4-5", "content": []any{}, "usage": map[string]int{"input_tokens": 12, "output_tokens": 1},
	}})
	event("content_block_start", map[string]any{"index": 0, "content_block": map[string]string{"type": "text", "text": ""}})
	event("ping", map[string]any{})
	n := 0
	tokens(question, func(s string) {
		n++
		event("content_block_delta", map[string]any{"index": 0, "delta": map[string]string{"type": "text_delta", "text": s}})
	})
	event("content_block_stop", map[string]any{"index": 0})
	event("message_delta", map[string]any{"delta": map[string]any{"stop_reason": "end_turn"}, "usage": map[string]int{"output_tokens": n}})
	event("message_stop", map[string]any{})
}

func writeEvent(w http.ResponseWriter, name string, data any) {
	if name != "" {
		fmt.Fprintf(w, "event: %s\n", name)
	}
	b, err := json.Marshal(data)
	if err != nil {
		panic(err) // maps of strings and numbers always encode
	}
	fmt.Fprintf(w, "data: %s\n\n", b)
	w.(http.Flusher).Flush()
}

func writeCerts(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "wiretape example outside world"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts,
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: caDER},
		"cert.pem": {Type: "CERTIFICATE", Bytes: leafDER},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o644); err != nil {
			return err
		}
	}
	return nil
}
