package mitmtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newIssuer(t *testing.T, r *Root) *Issuer {
	t.Helper()
	i, err := NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	renew(t, r, i, 24*time.Hour)
	return i
}

func renew(t *testing.T, r *Root, i *Issuer, validity time.Duration) {
	t.Helper()
	csr, err := i.CSR()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := r.SignIntermediate(csr, validity)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Use(chain); err != nil {
		t.Fatal(err)
	}
}

func leaf(t *testing.T, i *Issuer, name string) *tls.Certificate {
	t.Helper()
	c, err := i.Leaf(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// verify makes a leaf and verifies its chain for name.
func verify(t *testing.T, i *Issuer, trusted *x509.Certificate, name string) *x509.Certificate {
	t.Helper()
	c := leaf(t, i, name)
	opts := x509.VerifyOptions{DNSName: name, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	opts.Roots.AddCert(trusted)
	for _, der := range c.Certificate[1:] {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		opts.Intermediates.AddCert(ca)
	}
	if _, err := c.Leaf.Verify(opts); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c.Leaf
}

func TestLeavesAreForTheNameAsked(t *testing.T) {
	r := newRoot(t)
	i := newIssuer(t, r)
	long := strings.Repeat("a", 60) + "." + strings.Repeat("b", 60) + ".example"
	for _, tc := range []struct{ title, name, san, cn string }{
		{"a host", "api.openai.com", "api.openai.com", "api.openai.com"},
		{"upper case", "API.OpenAI.com", "api.openai.com", "api.openai.com"},
		{"an absolute name", "api.openai.com.", "api.openai.com", "api.openai.com"},
		{"a single label", "db", "db", "db"},
		{"an underscore", "my_service.test", "my_service.test", "my_service.test"},
		{"a name too long for a common name", long, long, ""},
		{"63 bytes", strings.Repeat("a", 63), strings.Repeat("a", 63), strings.Repeat("a", 63)},
		{"64 bytes", strings.Repeat("a", 62) + ".b", strings.Repeat("a", 62) + ".b", ""},
		{"an A-label", "xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"a U-label", "bücher.example", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"digits that are no address", "1.2.3", "1.2.3", "1.2.3"},
		{"IPv4", "192.0.2.1", "192.0.2.1", "192.0.2.1"},
		{"IPv6", "2001:db8::1", "2001:db8::1", "2001:db8::1"},
		{"bracketed IPv6", "[2001:db8::1]", "2001:db8::1", "2001:db8::1"},
		{"IPv6 with a zone", "fe80::1%eth0", "fe80::1", "fe80::1"},
		{"IPv4 in IPv6", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"},
	} {
		t.Run(tc.title, func(t *testing.T) {
			c := leaf(t, i, tc.name).Leaf
			if net.ParseIP(tc.san) != nil {
				if len(c.DNSNames) != 0 || len(c.IPAddresses) != 1 || c.IPAddresses[0].String() != tc.san {
					t.Errorf("names %q and addresses %v, want the address %s alone", c.DNSNames, c.IPAddresses, tc.san)
				}
			} else if len(c.DNSNames) != 1 || c.DNSNames[0] != tc.san || len(c.IPAddresses) != 0 {
				t.Errorf("names %q and addresses %v, want the name %s alone", c.DNSNames, c.IPAddresses, tc.san)
			}
			if c.Subject.CommonName != tc.cn {
				t.Errorf("common name %q, want %q", c.Subject.CommonName, tc.cn)
			}
			verify(t, i, r.Anchor(), tc.san)
		})
	}
}

func TestNamesThatGetNoCertificate(t *testing.T) {
	i := newIssuer(t, newRoot(t))
	for title, name := range map[string]string{
		"nothing":          "",
		"a dot":            ".",
		"a wildcard":       "*.example.com",
		"an empty label":   "a..example",
		"a leading dot":    ".example.com",
		"a port":           "example.com:443",
		"a path":           "example.com/a",
		"a space":          "a b",
		"a NUL":            "example.com\x00.evil",
		"254 bytes":        strings.Repeat("a.", 126) + "aa",
		"not UTF-8":        "b\xffcher.example",
		"an unclosed IPv6": "[::1",
	} {
		if c, err := i.Leaf(t.Context(), name); err == nil {
			t.Errorf("%s: got a certificate for %q", title, c.Leaf.DNSNames)
		}
	}
}

func TestLeavesHaveWhatStrictVerifiersWant(t *testing.T) {
	r := newRoot(t)
	i := newIssuer(t, r)
	c := leaf(t, i, "example.com")
	inter, err := x509.ParseCertificate(c.Certificate[1])
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Certificate) != 2 {
		t.Errorf("%d certificates are presented, want leaf and intermediate", len(c.Certificate))
	}
	if string(c.Leaf.AuthorityKeyId) != string(inter.SubjectKeyId) || len(inter.SubjectKeyId) == 0 {
		t.Error("the leaf's authority key identifier is not the intermediate's")
	}
	if string(inter.AuthorityKeyId) != string(r.Anchor().SubjectKeyId) || len(inter.AuthorityKeyId) == 0 {
		t.Error("the intermediate's authority key identifier is not the root's")
	}
	if inter.MaxPathLen != 0 || !inter.MaxPathLenZero || !criticalCA(inter) || !criticalCA(r.Anchor()) {
		t.Error("the authorities' constraints are missing or not critical")
	}
	if c.Leaf.IsCA || c.Leaf.PublicKeyAlgorithm != x509.ECDSA {
		t.Error("the leaf is an authority, or not ECDSA")
	}
	if age := time.Since(c.Leaf.NotBefore); age < Backdate-time.Minute {
		t.Errorf("the leaf begins %v ago, want %v", age, Backdate)
	}
	if c.Leaf.NotAfter.After(inter.NotAfter) {
		t.Error("the leaf outlives the intermediate")
	}
	if time.Until(inter.NotAfter) > 24*time.Hour {
		t.Error("the intermediate lives longer than asked")
	}
}

func TestIntermediateNeverOutlivesTheRoot(t *testing.T) {
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	r, err := LoadOrCreateRoot(writeCAROOT(t, ecKey(t), func(c *x509.Certificate) { c.NotAfter = end }))
	if err != nil {
		t.Fatal(err)
	}
	if i := newIssuer(t, r); !i.Expires().Equal(end.UTC()) {
		t.Errorf("the intermediate ends at %v, the root at %v", i.Expires(), end)
	}
}

func TestEqualNamesShareOneLeaf(t *testing.T) {
	i := newIssuer(t, newRoot(t))
	certs := make([]*tls.Certificate, 64)
	var wg sync.WaitGroup
	for n := range certs {
		wg.Go(func() {
			c, err := i.Leaf(context.Background(), []string{"example.com", "EXAMPLE.com", "example.com."}[n%3])
			if err != nil {
				t.Error(err)
			}
			certs[n] = c
		})
	}
	wg.Wait()
	for _, c := range certs {
		if c != certs[0] {
			t.Fatal("equal names have different certificates")
		}
	}
}

func TestCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	i := newIssuer(t, newRoot(t))
	first := leaf(t, i, "kept.example")
	second := leaf(t, i, "dropped.example")
	for n := range maxLeaves - 1 {
		i.mu.Lock()
		i.cache.get(fmt.Sprint(n), time.Now())
		i.mu.Unlock()
		if leaf(t, i, "kept.example") != first {
			t.Fatal("a leaf in use was dropped")
		}
	}
	if got := i.cache.recent.Len(); got != maxLeaves || len(i.cache.byName) != maxLeaves {
		t.Errorf("%d leaves are kept (%d by name), want %d", got, len(i.cache.byName), maxLeaves)
	}
	if leaf(t, i, "dropped.example") == second {
		t.Error("the leaf used longest ago was kept")
	}
}

func TestExpiryOfIntermediateAndLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoot(t)
		i, err := NewIssuer()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := i.Leaf(t.Context(), "a.example"); err == nil || !i.Expires().IsZero() {
			t.Fatal("issued without an intermediate")
		}
		renew(t, r, i, 24*time.Hour)
		old := leaf(t, i, "a.example")
		time.Sleep(25 * time.Hour)
		if _, err := i.Leaf(t.Context(), "a.example"); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("after the intermediate's end: %v", err)
		}
		renew(t, r, i, 60*24*time.Hour)
		fresh := leaf(t, i, "a.example")
		if fresh == old {
			t.Error("a leaf of the old intermediate was handed out")
		}
		time.Sleep(leafLifetime - leafMargin)
		if next := leaf(t, i, "a.example"); next == fresh || time.Until(next.Leaf.NotAfter) < leafMargin {
			t.Error("a leaf was not replaced before its end")
		}
	})
}

func TestBadSigningRequestsAreRefused(t *testing.T) {
	r := newRoot(t)
	i, err := NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	good, err := i.CSR()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good)
	block.Bytes[len(block.Bytes)-1] ^= 1
	forged := pem.EncodeToMemory(block)
	for title, csr := range map[string][]byte{"nothing": nil, "no PEM": []byte("x"), "a certificate": r.AnchorPEM(), "forged": forged} {
		if _, err := r.SignIntermediate(csr, time.Hour); err == nil {
			t.Errorf("%s was signed", title)
		}
	}
	if _, err := r.SignIntermediate(good, 0); err == nil {
		t.Error("signed for no time")
	}
}

func TestBadChainsAreRefused(t *testing.T) {
	r, other := newRoot(t), newRoot(t)
	i := newIssuer(t, r)
	csr, _ := i.CSR()
	good, _ := r.SignIntermediate(csr, time.Hour)
	block, _ := pem.Decode(good)
	inter := encodeCert(block.Bytes)
	before := i.Expires()
	for title, chain := range map[string][]byte{
		"nothing":            nil,
		"another key's":      r.AnchorPEM(),
		"another root":       append(append([]byte{}, inter...), other.AnchorPEM()...),
		"a key":              pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}),
		"broken":             encodeCert([]byte("x")),
		"not an authority's": encodeCert(leaf(t, r.Issuer(), "a.example").Certificate[0]),
	} {
		if err := i.Use(chain); err == nil {
			t.Errorf("%s was taken", title)
		}
	}
	if !i.Expires().Equal(before) {
		t.Error("a refused chain replaced the one in use")
	}
	if err := i.Use(inter); err != nil {
		t.Errorf("a chain without its root was refused: %v", err)
	}
}

func TestCancelledCallerGetsNoLeaf(t *testing.T) {
	i := newIssuer(t, newRoot(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := i.Leaf(ctx, "a.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzLeafName(f *testing.F) {
	for _, s := range []string{"a.example", "[::1]", "b\u00fccher.example", "*.x", "_a.b", "xn--a"} {
		f.Add(s)
	}
	key, err := NewIssuer()
	if err != nil {
		f.Fatal(err)
	}
	r, err := LoadOrCreateRoot(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	csr, _ := key.CSR()
	chain, _ := r.SignIntermediate(csr, time.Hour)
	if err := key.Use(chain); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		c, err := key.Leaf(context.Background(), name)
		if err == nil && len(c.Leaf.DNSNames)+len(c.Leaf.IPAddresses) != 1 {
			t.Errorf("%q has the names %q and addresses %v", name, c.Leaf.DNSNames, c.Leaf.IPAddresses)
		}
	})
}

func BenchmarkLeafNew(b *testing.B) {
	r, err := LoadOrCreateRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	i := r.Issuer()
	for n := 0; b.Loop(); n++ {
		if _, err := i.Leaf(context.Background(), fmt.Sprintf("host-%d.example", n)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLeafCached(b *testing.B) {
	r, err := LoadOrCreateRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	i := r.Issuer()
	for b.Loop() {
		if _, err := i.Leaf(context.Background(), "a.example"); err != nil {
			b.Fatal(err)
		}
	}
}
