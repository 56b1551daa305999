package mitmtls

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	// leafLifetime is short enough for every client's limit, and is cut to
	// what the issuing certificate allows.
	leafLifetime = 7 * 24 * time.Hour
	// leafMargin is how long before its end a leaf is replaced.
	leafMargin = time.Hour
	// maxLeaves bounds the cache.
	maxLeaves = 1024
	// maxCommonName keeps below ub-common-name, 64 (RFC 5280 appendix A.1).
	maxCommonName = 63
	// maxName is the longest name that DNS can carry (RFC 1035 section 2.3.4).
	maxName = 253
)

// An Issuer makes leaf certificates. It is safe for concurrent use.
type Issuer struct {
	key crypto.Signer

	mu    sync.Mutex
	chain []*x509.Certificate // the issuing certificate first; nil before Use
	cache leafCache           // leaves of this chain
}

// NewIssuer returns an issuer with a fresh ECDSA P-256 key that exists only in
// this process. It can't issue before Use.
func NewIssuer() (*Issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Issuer{key: key}, nil
}

// CSR returns a signing request for the issuer's key, as PEM.
func (i *Issuer) CSR() ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "wiretape intermediate"},
	}, i.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// Use takes the chain that Root.SignIntermediate made: an intermediate for the
// issuer's key, then its root. It can be called again to renew; leaves of the
// chain before it are no longer handed out.
func (i *Issuer) Use(chainPEM []byte) error {
	var chain []*x509.Certificate
	for rest := chainPEM; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("certificate chain: unexpected PEM block %s", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("certificate chain: %w", err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return errors.New("certificate chain: no certificate in it")
	}
	pub, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(i.key.Public()) {
		return errors.New("certificate chain: its first certificate is for another key")
	}
	if !chain[0].IsCA {
		return errors.New("certificate chain: its first certificate is not an authority's")
	}
	for n := range chain[:len(chain)-1] {
		if err := chain[n].CheckSignatureFrom(chain[n+1]); err != nil {
			return fmt.Errorf("certificate chain: certificate %d is not signed by the next: %w", n+1, err)
		}
	}
	i.use(chain)
	return nil
}

func (i *Issuer) use(chain []*x509.Certificate) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.chain = chain
	i.cache = leafCache{}
}

// Expires is when the issuing certificate ends, or zero before Use.
func (i *Issuer) Expires() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.chain == nil {
		return time.Time{}
	}
	return i.chain[0].NotAfter
}

// Leaf returns a certificate for a server name (of an SNI, so without port) or
// an IP address, with the chain to present but for the root. Equal names get the
// same certificate; it must not be changed. An absolute name (with a trailing
// dot) and a bracketed or zoned address are taken as what they mean.
func (i *Issuer) Leaf(ctx context.Context, name string) (*tls.Certificate, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name, ip, err := normalize(name)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	i.mu.Lock()
	chain := i.chain
	if chain == nil {
		i.mu.Unlock()
		return nil, errors.New("issuing a certificate: there is no intermediate yet")
	}
	if now.After(chain[0].NotAfter) {
		i.mu.Unlock()
		return nil, fmt.Errorf("issuing a certificate: the intermediate expired at %s", chain[0].NotAfter.Format(time.RFC3339))
	}
	entry := i.cache.get(name, now)
	i.mu.Unlock()

	// Others who want this name wait here; making a leaf takes well under a
	// millisecond, and does not depend on any caller's context.
	entry.once.Do(func() { entry.cert, entry.err = i.issue(chain, name, ip, now) })
	if entry.err != nil {
		i.mu.Lock()
		i.cache.remove(entry)
		i.mu.Unlock()
		return nil, fmt.Errorf("issuing a certificate for %q: %w", name, entry.err)
	}
	return entry.cert, nil
}

func (i *Issuer) issue(chain []*x509.Certificate, name string, ip netip.Addr, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := chain[0]
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"wiretape"}},
		NotBefore:             later(now.Add(-Backdate), ca.NotBefore),
		NotAfter:              earlier(now.Add(leafLifetime), ca.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		PublicKey:             key.Public(),
	}
	if ip.IsValid() {
		template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
	} else {
		template.DNSNames = []string{name}
	}
	if len(name) <= maxCommonName {
		template.Subject.CommonName = name
	}
	leaf, err := sign(template, chain, i.key)
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	for _, c := range chain {
		if string(c.RawIssuer) != string(c.RawSubject) {
			cert.Certificate = append(cert.Certificate, c.Raw)
		}
	}
	return cert, nil
}

// normalize returns the name by which a certificate is issued and cached, and
// the address if it is one.
func normalize(name string) (string, netip.Addr, error) {
	bare, open := strings.CutPrefix(name, "[")
	bare, closed := strings.CutSuffix(bare, "]")
	if ip, err := netip.ParseAddr(bare); err == nil && open == closed {
		ip = ip.WithZone("").Unmap()
		return ip.String(), ip, nil
	}
	host := strings.TrimSuffix(name, ".")
	if !isASCII(host) {
		// Clients send A-labels; a U-label comes from a URL that a user wrote.
		if !utf8.ValidString(host) {
			return "", netip.Addr{}, fmt.Errorf("server name %q: it is not UTF-8", name)
		}
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", netip.Addr{}, fmt.Errorf("server name %q: %w", name, err)
		}
		host = ascii
	}
	host = strings.ToLower(host)
	if err := checkName(host); err != nil {
		return "", netip.Addr{}, fmt.Errorf("server name %q: %w", name, err)
	}
	return host, netip.Addr{}, nil
}

// checkName is wide on purpose: underscores and long labels do occur. It
// refuses what can't be in a dNSName or would cover more than one name.
func checkName(host string) error {
	switch {
	case host == "":
		return errors.New("it is empty")
	case len(host) > maxName:
		return fmt.Errorf("it is longer than %d bytes", maxName)
	case strings.HasPrefix(host, "."), strings.Contains(host, ".."), strings.HasSuffix(host, "."):
		return errors.New("it has an empty label")
	}
	for _, c := range []byte(host) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("*/:@[]\\\"'<>?#%", c) >= 0 {
			return fmt.Errorf("it holds the byte %q", c)
		}
	}
	return nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
