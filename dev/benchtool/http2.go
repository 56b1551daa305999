//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
)

// tlsFiles are the certificate of the servers that wiretape is compared with.
type tlsFiles struct{ cert, key string }

func (t tlsFiles) args() []string { return []string{"-cert", t.cert, "-key", t.key} }

// makeTLS makes a certificate for 127.0.0.1 that is its own root.
func (b *bench) makeTLS() error {
	if b.tls.cert != "" {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"bench"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IsCA:     true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	b.tls = tlsFiles{filepath.Join(b.dir, "cert.pem"), filepath.Join(b.dir, "key.pem")}
	return errors.Join(
		os.WriteFile(b.tls.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(b.tls.key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600))
}

// measureReplayHTTP2 is measureReplay over HTTP/2 and TLS, through CONNECT.
func measureReplayHTTP2(ctx context.Context, b *bench, f *results.Figure) error {
	if err := b.makeTLS(); err != nil {
		return err
	}
	j := job{Paths: []string{streamPath(1, b.one)}}
	for i := range b.firsts {
		j.Paths = append(j.Paths, streamPath(1000+i, 90*time.Millisecond))
	}
	dir, roots, err := b.recordHTTP2(ctx, &j)
	if err != nil {
		return err
	}
	cs := b.contenders()[:2]
	cs[1].roots, cs[1].start = roots, func(ctx context.Context, tape string) (*child, error) {
		return b.floor(ctx, tape, b.tls.args()...)
	}
	f.Method = fmt.Sprintf("One stream of %s and %d short ones in turn, HTTP/2 over TLS, wiretape through CONNECT, %d rounds.", b.one, b.firsts, b.rounds)
	replayTables(f, cs)
	if err := b.play(ctx, dir, j, b.rounds, cs); err != nil {
		return err
	}
	notePlayed(f, cs[0])
	replayGoals(f, cs)
	return nil
}

// recordHTTP2 records a job from an origin with TLS, and sets in the job what it
// takes to get the same from the tape. roots are for the servers' own certificate.
func (b *bench) recordHTTP2(ctx context.Context, j *job) (dir, roots string, err error) {
	o, err := b.origin(ctx, b.tls.args()...)
	if err != nil {
		return "", "", err
	}
	defer o.stop()
	dir = filepath.Join(b.dir, "replay-http2")
	rec, err := b.recorder(ctx, dir, "--upstream-ca", b.tls.cert)
	if err != nil {
		return "", "", err
	}
	defer rec.stop()
	own, err := os.ReadFile(filepath.Join(b.caRoot(), "rootCA.pem"))
	if err != nil {
		return "", "", err
	}
	cert, err := os.ReadFile(b.tls.cert)
	if err != nil {
		return "", "", err
	}
	j.Addr, j.Proxy, j.Roots = o.addr, rec.addr, string(own)
	if _, err := b.request(ctx, *j); err != nil {
		return "", "", err
	}
	return dir, string(cert), errors.Join(rec.stop(), o.stop())
}
