package mitmtls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/needs"
)

func newRoot(t *testing.T) *Root {
	t.Helper()
	r, err := LoadOrCreateRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// writeCAROOT makes the files of a root, from a template that change may alter.
func writeCAROOT(t *testing.T, key crypto.Signer, change func(*x509.Certificate)) string {
	t.Helper()
	// As mkcert makes it: path length zero, and keyCertSign alone.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(42),
		Subject: pkix.Name{
			Organization:       []string{"mkcert development CA"},
			OrganizationalUnit: []string{"ann@laptop (Ann)"},
			CommonName:         "mkcert ann@laptop (Ann)",
		},
		SubjectKeyId:          []byte("0123456789abcdefghij"),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, RootCertFile), encodeCert(der), 0o644)
	write(t, filepath.Join(dir, RootKeyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o400)
	return dir
}

func write(t *testing.T, file string, content []byte, mode os.FileMode) {
	t.Helper()
	os.Remove(file)
	if err := os.WriteFile(file, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRootIsCreatedOnceAndThenLoaded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first, err := LoadOrCreateRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LoadOrCreateRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Certificate().Equal(second.Certificate()) || !second.Anchor().Equal(second.Certificate()) {
		t.Error("the second call has another root, or another anchor than the file")
	}
	for file, mode := range map[string]os.FileMode{first.CertFile(): 0o644, first.KeyFile(): 0o400} {
		fi, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && fi.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", file, fi.Mode().Perm(), mode)
		}
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 {
		t.Errorf("the folder has %d entries, want the two files alone", len(entries))
	}
	if len(first.Warnings()) != 0 {
		t.Errorf("warnings about our own root: %q", first.Warnings())
	}
}

func TestRacingProcessesGetTheSameRoot(t *testing.T) {
	dir := t.TempDir()
	roots := make([]*Root, 16)
	var wg sync.WaitGroup
	for i := range roots {
		wg.Go(func() {
			r, err := LoadOrCreateRoot(dir)
			if err != nil {
				t.Error(err)
				return
			}
			roots[i] = r
		})
	}
	wg.Wait()
	for _, r := range roots {
		if r == nil || !r.Certificate().Equal(roots[0].Certificate()) {
			t.Fatal("not all have the same root")
		}
	}
}

func TestRootIsCompletedWhenItsCreationWasCutShort(t *testing.T) {
	dir := t.TempDir()
	key, err := createKeyFile(filepath.Join(dir, RootKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	r, err := LoadOrCreateRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !key.(*ecdsa.PrivateKey).PublicKey.Equal(r.Certificate().PublicKey) {
		t.Error("the root has another key than the one that was there")
	}
}

func TestDefaultDir(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the folders differ by system")
	}
	for _, tc := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"CAROOT comes first", map[string]string{"CAROOT": "/x/mkcert", "XDG_DATA_HOME": "/d", "HOME": "/h"}, "/x/mkcert"},
		{"XDG_DATA_HOME is next", map[string]string{"XDG_DATA_HOME": "/d", "HOME": "/h"}, "/d/wiretape"},
		{"a relative XDG_DATA_HOME is ignored", map[string]string{"XDG_DATA_HOME": "d", "HOME": "/h"}, "/h/.local/share/wiretape"},
		{"the home folder is last", map[string]string{"HOME": "/h"}, "/h/.local/share/wiretape"},
		{"without any it is an error", nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := DefaultDir(func(k string) string { return tc.env[k] })
			if got != tc.want || (err != nil) != (tc.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestUnusableRootsAreNamed(t *testing.T) {
	key := ecKey(t)
	with := func(change func(*x509.Certificate)) func(*testing.T) string {
		return func(t *testing.T) string { return writeCAROOT(t, key, change) }
	}
	replace := func(file string, content []byte) func(*testing.T) string {
		return func(t *testing.T) string {
			dir := writeCAROOT(t, key, nil)
			write(t, filepath.Join(dir, file), content, 0o400)
			return dir
		}
	}
	for _, tc := range []struct {
		name, file, message string
		dir                 func(*testing.T) string
	}{
		{"no PEM", RootCertFile, "no PEM certificate", replace(RootCertFile, []byte("hello"))},
		{"empty file", RootCertFile, "no PEM certificate", replace(RootCertFile, nil)},
		{"broken DER", RootCertFile, "broken certificate", replace(RootCertFile, encodeCert([]byte("hello")))},
		{"expired", RootCertFile, "expired on", with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })},
		{"begins later", RootCertFile, "by this machine's clock", with(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })},
		{"not an authority", RootCertFile, "not the certificate of an authority", with(func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false })},
		{"no keyCertSign", RootCertFile, "may not sign certificates", with(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })},
		{"no subject", RootCertFile, "no subject", with(func(c *x509.Certificate) { c.Subject = pkix.Name{} })},
		{"key is missing", RootKeyFile, "missing", func(t *testing.T) string {
			dir := writeCAROOT(t, key, nil)
			os.Remove(filepath.Join(dir, RootKeyFile))
			return dir
		}},
		{"key is no PEM", RootKeyFile, "no PEM private key", replace(RootKeyFile, []byte("hello"))},
		{"key is broken", RootKeyFile, "broken private key", replace(RootKeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))},
		{"key has a passphrase", RootKeyFile, "passphrase", replace(RootKeyFile, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))},
		{"old key has a passphrase", RootKeyFile, "passphrase", replace(RootKeyFile, pem.EncodeToMemory(&pem.Block{
			Type: "RSA PRIVATE KEY", Bytes: []byte("x"), Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}}))},
		{"key is of another root", RootKeyFile, "not the key of", func(t *testing.T) string {
			dir := writeCAROOT(t, key, nil)
			other, _ := x509.MarshalECPrivateKey(ecKey(t))
			write(t, filepath.Join(dir, RootKeyFile), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: other}), 0o400)
			return dir
		}},
		{"RSA key is short", RootKeyFile, "1024 bits", func(t *testing.T) string { return writeCAROOT(t, rsaKey(t, 1024), nil) }},
		{"certificate is a folder", RootCertFile, "directory", func(t *testing.T) string {
			dir := t.TempDir()
			os.Mkdir(filepath.Join(dir, RootCertFile), 0o755)
			return dir
		}},
		{"CAROOT is a file", "caroot", "directory", func(t *testing.T) string {
			file := filepath.Join(t.TempDir(), "caroot")
			write(t, file, nil, 0o644)
			return file
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := LoadOrCreateRoot(tc.dir(t))
			fe, ok := errors.AsType[*FileError](err)
			if !ok {
				t.Fatalf("got %v, want a FileError", err)
			}
			if !strings.Contains(fe.File, tc.file) || !strings.Contains(fe.Error(), tc.message) || fe.Hint == "" {
				t.Errorf("got %q (hint %q), want %q about %s", fe, fe.Hint, tc.message, tc.file)
			}
		})
	}
}

func TestKeyThatOthersCanReadIsAWarning(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	dir := writeCAROOT(t, ecKey(t), nil)
	if err := os.Chmod(filepath.Join(dir, RootKeyFile), 0o640); err != nil {
		t.Fatal(err)
	}
	r, err := LoadOrCreateRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	if w := r.Warnings(); len(w) != 1 || !strings.Contains(w[0], RootKeyFile) || !strings.Contains(w[0], "chmod 0400") {
		t.Errorf("warnings are %q", w)
	}
}

func TestMkcertRootsCanBeUsed(t *testing.T) {
	needs.Time(t)
	for name, key := range map[string]crypto.Signer{"RSA-3072": rsaKey(t, 3072), "ECDSA": ecKey(t)} {
		t.Run(name, func(t *testing.T) {
			r, err := LoadOrCreateRoot(writeCAROOT(t, key, nil))
			if err != nil {
				t.Fatal(err)
			}
			a := r.Anchor()
			if a.Equal(r.Certificate()) || a.MaxPathLen == 0 {
				t.Fatal("the anchor forbids intermediates as the root does")
			}
			if !bytes.Equal(a.RawSubject, r.Certificate().RawSubject) || !bytes.Equal(a.SubjectKeyId, r.Certificate().SubjectKeyId) {
				t.Error("the anchor has another name or key identifier")
			}
			if !a.NotAfter.Equal(r.Certificate().NotAfter) {
				t.Error("the anchor ends at another time")
			}
			verify(t, newIssuer(t, r), a, "api.openai.com")
			// A client that trusts mkcert's own certificate trusts leaves of the root itself.
			verify(t, r.Issuer(), r.Certificate(), "api.openai.com")
		})
	}
}

func TestAnchorMendsWhatStrictVerifiersReject(t *testing.T) {
	r, err := LoadOrCreateRoot(writeCAROOT(t, ecKey(t), func(c *x509.Certificate) {
		c.KeyUsage, c.MaxPathLenZero, c.MaxPathLen = 0, false, -1
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"example.com"}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if r.Anchor().KeyUsage&x509.KeyUsageCertSign == 0 {
		t.Error("the anchor has no key usage")
	}
	if len(r.Anchor().PermittedDNSDomains) != 1 {
		t.Error("the anchor lost the root's name constraints")
	}
}

func FuzzRootFiles(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: x\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseRootCert(b, time.Now()); (c == nil) != (err != nil) {
			t.Error("neither certificate nor error")
		}
		if k, err := parseKey(b); (k == nil) != (err != nil) {
			t.Error("neither key nor error")
		}
	})
}
