package mitmtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// createRoot makes the two files of a root. It needs no lock: the key comes
// first, and whoever finds a key without a certificate makes one for that key,
// so that two processes at once, or one that was killed halfway, end with files
// that fit each other.
func createRoot(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &FileError{File: dir, Err: plain(err), Hint: "set CAROOT to a folder that can be written"}
	}
	keyFile := filepath.Join(dir, RootKeyFile)
	key, err := createKeyFile(keyFile)
	if err != nil {
		return err
	}
	cert, err := selfSign(key, time.Now())
	if err != nil {
		return fmt.Errorf("making the root certificate: %w", err)
	}
	certFile := filepath.Join(dir, RootCertFile)
	if err := writeNew(certFile, encodeCert(cert.Raw), 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
		return &FileError{File: certFile, Err: plain(err), Hint: "set CAROOT to a folder that can be written"}
	}
	return nil
}

// createKeyFile returns the key in the file, which it writes if there is none.
func createKeyFile(file string) (crypto.Signer, error) {
	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(fresh)
	if err != nil {
		return nil, err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	err = writeNew(file, block, 0o400)
	if err == nil {
		return fresh, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, &FileError{File: file, Err: plain(err), Hint: "set CAROOT to a folder that can be written"}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, &FileError{File: file, Err: plain(err), Hint: "run as the user who owns it, or set CAROOT to another folder"}
	}
	key, err := parseKey(b)
	if err != nil {
		return nil, &FileError{File: file, Err: err, Hint: "move it away to have a new root made, or set CAROOT to another folder"}
	}
	return key, nil
}

// writeNew makes a file that appears complete or not at all, and fails with
// fs.ErrExist rather than replace one.
func writeNew(file string, content []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".wiretape-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(tmp.Name(), mode)
	}
	if err != nil {
		return err
	}
	err = os.Link(tmp.Name(), file)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without hard links.
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(file)
	}
	return err
}

// selfSign makes the certificate of a new root. Its name is unique, because
// OpenSSL looks issuers up by name.
func selfSign(key crypto.Signer, now time.Time) (*x509.Certificate, error) {
	var id [4]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{
			Organization: []string{"wiretape development CA"},
			CommonName:   "wiretape root " + hex.EncodeToString(id[:]),
		},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
		PublicKey:             key.Public(),
	}
	return sign(template, []*x509.Certificate{template}, key)
}
