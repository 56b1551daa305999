// Package mitmtls is the certificate authority of wiretape: its root on the
// user's machine, a short-lived intermediate for each agent, a leaf for each
// server name, and what a runtime must be given to trust them.
//
// The root's key never leaves the process that loads it. An agent makes a key of
// its own, sends a signing request, and gets an intermediate that can issue
// leaves and nothing else:
//
//	CLI                               agent
//	LoadOrCreateRoot
//	                     ◄── CSR ──   NewIssuer, Issuer.CSR
//	Root.SignIntermediate ── chain ─► Issuer.Use
//	Root.Anchor → bundles             Issuer.Leaf, for each ClientHello
//
// Every certificate passes OpenSSL's X509_V_FLAG_X509_STRICT, which Python 3.13
// turned on: critical basicConstraints and keyUsage on authorities, a subject
// key identifier on each, an authority key identifier on all but the root.
package mitmtls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// The files of a CAROOT, named as mkcert names them.
const (
	RootCertFile = "rootCA.pem"     // mode 0644
	RootKeyFile  = "rootCA-key.pem" // mode 0400, PKCS #8
)

// Backdate is how far in the past certificates begin, for containers and
// machines whose clocks are behind.
const Backdate = 48 * time.Hour

// A Root is the certificate authority that signs intermediates. It is safe for
// concurrent use.
type Root struct {
	dir      string
	cert     *x509.Certificate // as it is in the file
	anchor   *x509.Certificate
	key      crypto.Signer
	warnings []string
}

// A FileError is a file of the CAROOT that can't be used, and what to do.
type FileError struct {
	File string
	Err  error
	Hint string
}

func (e *FileError) Error() string {
	return fmt.Sprintf("%s: %v", e.File, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// DefaultDir returns the folder of the root: $CAROOT, else "wiretape" in the
// user's data folder, found as mkcert finds it.
func DefaultDir(getenv func(string) string) (string, error) {
	if dir := getenv("CAROOT"); dir != "" {
		return filepath.Abs(dir)
	}
	home := func(below ...string) (string, error) {
		dir := getenv("HOME")
		if dir == "" {
			return "", errors.New("no folder for the root certificate: HOME is not set; set CAROOT to a folder")
		}
		return filepath.Join(append(append([]string{dir}, below...), "wiretape")...), nil
	}
	switch runtime.GOOS {
	case "windows":
		dir := getenv("LocalAppData")
		if dir == "" {
			return "", errors.New("no folder for the root certificate: %LocalAppData% is not set; set CAROOT to a folder")
		}
		return filepath.Join(dir, "wiretape"), nil
	case "darwin":
		return home("Library", "Application Support")
	default:
		// The XDG base directory specification: relative paths are ignored.
		if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
			return filepath.Join(dir, "wiretape"), nil
		}
		return home(".local", "share")
	}
}

// LoadOrCreateRoot loads the root from the folder dir, or makes one there that
// is valid for ten years. An empty dir means DefaultDir(os.Getenv). A folder
// that mkcert made can be used as it is. Processes that create the same root at
// the same time all get the same one. An unusable file is a *FileError.
func LoadOrCreateRoot(dir string) (*Root, error) {
	if dir == "" {
		var err error
		if dir, err = DefaultDir(os.Getenv); err != nil {
			return nil, err
		}
	}
	r := &Root{dir: dir}
	cert, err := os.ReadFile(r.CertFile())
	if errors.Is(err, fs.ErrNotExist) {
		if err := createRoot(dir); err != nil {
			return nil, err
		}
		cert, err = os.ReadFile(r.CertFile())
	}
	if err != nil {
		return nil, &FileError{File: r.CertFile(), Err: plain(err), Hint: "make it readable, or set CAROOT to another folder"}
	}
	if r.cert, err = parseRootCert(cert, time.Now()); err != nil {
		return nil, &FileError{File: r.CertFile(), Err: err, Hint: r.replaceHint()}
	}
	if err := r.loadKey(); err != nil {
		return nil, err
	}
	if r.anchor, err = anchorFor(r.cert, r.key); err != nil {
		return nil, &FileError{File: r.CertFile(), Err: err, Hint: r.replaceHint()}
	}
	return r, nil
}

// CertFile is the path of the root's certificate.
func (r *Root) CertFile() string { return filepath.Join(r.dir, RootCertFile) }

// KeyFile is the path of the root's private key.
func (r *Root) KeyFile() string { return filepath.Join(r.dir, RootKeyFile) }

// Warnings are complaints about a root that can be used all the same.
func (r *Root) Warnings() []string { return r.warnings }

// Certificate is the certificate in the file.
func (r *Root) Certificate() *x509.Certificate { return r.cert }

// Anchor is the certificate that clients must trust. It is the one in the file,
// unless that forbids intermediates (mkcert's have path length zero) or has no
// subject key identifier: then it is a certificate of the same subject and key
// that has none of these faults. Anchors of the same root are interchangeable.
func (r *Root) Anchor() *x509.Certificate { return r.anchor }

// AnchorPEM is the anchor as a PEM block.
func (r *Root) AnchorPEM() []byte { return encodeCert(r.anchor.Raw) }

// Issuer returns an issuer that signs leaves with the root's own key, for a
// proxy in the process that holds it. Clients that trust the certificate in the
// file trust its leaves, also where that certificate forbids intermediates.
func (r *Root) Issuer() *Issuer {
	i := &Issuer{key: r.key}
	i.use([]*x509.Certificate{r.anchor})
	return i
}

func (r *Root) loadKey() error {
	file := r.KeyFile()
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &FileError{File: file, Err: errors.New("the root's key is missing"), Hint: r.replaceHint()}
	}
	if err != nil {
		return &FileError{File: file, Err: plain(err), Hint: "run as the user who owns it, or set CAROOT to another folder"}
	}
	if r.key, err = parseKey(b); err != nil {
		return &FileError{File: file, Err: err, Hint: r.replaceHint()}
	}
	pub, ok := r.cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(r.key.Public()) {
		return &FileError{File: file, Err: fmt.Errorf("is not the key of %s", RootCertFile), Hint: r.replaceHint()}
	}
	if fi, err := os.Stat(file); err == nil && runtime.GOOS != "windows" && fi.Mode().Perm()&0o077 != 0 {
		r.warnings = append(r.warnings, fmt.Sprintf(
			"%s: others can read the root's key (mode %04o); run: chmod 0400 %s", file, fi.Mode().Perm(), file))
	}
	return nil
}

func (r *Root) replaceHint() string {
	return fmt.Sprintf("move %s and %s away from %s to have new ones made, or set CAROOT to another folder",
		RootCertFile, RootKeyFile, r.dir)
}

func parseRootCert(b []byte, now time.Time) (*x509.Certificate, error) {
	der := firstBlock(b, "CERTIFICATE")
	if der == nil {
		return nil, errors.New("holds no PEM certificate")
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("holds a broken certificate: %w", err)
	}
	const day = "2006-01-02"
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return nil, errors.New("is not the certificate of an authority")
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errors.New("may not sign certificates (key usage)")
	case !bytes.Equal(c.RawSubject, c.RawIssuer):
		return nil, errors.New("is an intermediate, not a root")
	case len(c.RawSubject) <= 2:
		return nil, errors.New("has no subject, and an authority needs one (RFC 5280 section 4.1.2.6)")
	case now.After(c.NotAfter):
		return nil, fmt.Errorf("expired on %s", c.NotAfter.Format(day))
	case now.Before(c.NotBefore):
		return nil, fmt.Errorf("begins on %s only, by this machine's clock", c.NotBefore.Format(day))
	}
	return c, nil
}

func parseKey(b []byte) (crypto.Signer, error) {
	block := firstKeyBlock(b)
	if block == nil {
		return nil, errors.New("holds no PEM private key")
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("is protected by a passphrase")
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if block.Headers["DEK-Info"] != "" {
		return nil, errors.New("is protected by a passphrase")
	}
	if err != nil {
		return nil, fmt.Errorf("holds a broken private key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("holds a key that can't sign (%T)", key)
	}
	if k, ok := signer.(*rsa.PrivateKey); ok && k.N.BitLen() < 2048 {
		return nil, fmt.Errorf("holds an RSA key of %d bits, and clients want 2048 at least", k.N.BitLen())
	}
	if k, ok := signer.(*ecdsa.PrivateKey); ok && k.Curve.Params().BitSize < 256 {
		return nil, fmt.Errorf("holds a key on %s, and clients want P-256 at least", k.Curve.Params().Name)
	}
	return signer, nil
}

// firstKeyBlock skips what is no key, such as the EC PARAMETERS that openssl
// writes before one.
func firstKeyBlock(b []byte) *pem.Block {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return nil
		}
		switch block.Type {
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
			return block
		}
	}
}

func firstBlock(b []byte, kind string) []byte {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return nil
		}
		if block.Type == kind {
			return block.Bytes
		}
	}
}

// plain takes the path off an error, where the message has it already.
func plain(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
