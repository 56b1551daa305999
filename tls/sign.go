package mitmtls

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/smallstep/certificates/cas/apiv1"
	"github.com/smallstep/certificates/cas/softcas"
)

// sign issues the template's certificate for template.PublicKey, in the name of
// parents[0]. The template must be the caller's own, as softcas writes into it.
func sign(template *x509.Certificate, parents []*x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	ca, err := softcas.New(context.Background(), apiv1.Options{CertificateChain: parents, Signer: key})
	if err != nil {
		return nil, err
	}
	resp, err := ca.CreateCertificate(&apiv1.CreateCertificateRequest{
		Template: template,
		Lifetime: template.NotAfter.Sub(template.NotBefore),
	})
	if err != nil {
		return nil, err
	}
	return resp.Certificate, nil
}

// anchorFor returns cert, or one of the same subject and key that can have an
// intermediate below it and has the extensions that strict verifiers want.
func anchorFor(cert *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	const usage = x509.KeyUsageCertSign
	if cert.MaxPathLen != 0 && len(cert.SubjectKeyId) > 0 && cert.KeyUsage&usage != 0 && criticalCA(cert) {
		return cert, nil
	}
	again := *cert
	again.SerialNumber = nil
	again.SignatureAlgorithm = 0
	again.KeyUsage |= usage
	again.MaxPathLen, again.MaxPathLenZero = 1, false
	again.Extensions, again.ExtraExtensions = nil, nil
	again.AuthorityKeyId = nil
	return sign(&again, []*x509.Certificate{&again}, key)
}

// criticalCA reports whether basicConstraints (2.5.29.19) and keyUsage
// (2.5.29.15) are critical, as RFC 5280 sections 4.2.1.9 and 4.2.1.3 demand.
func criticalCA(cert *x509.Certificate) bool {
	for _, e := range cert.Extensions {
		if id := e.Id.String(); (id == "2.5.29.19" || id == "2.5.29.15") && !e.Critical {
			return false
		}
	}
	return true
}

// SignIntermediate issues a certificate for the key of a signing request, that
// may issue server certificates and no further authorities. It begins Backdate
// ago and ends after validity, but never after the root. The chain is the
// intermediate and the anchor. Of the request, only the key is used.
func (r *Root) SignIntermediate(csrPEM []byte, validity time.Duration) (chainPEM []byte, err error) {
	der := firstBlock(csrPEM, "CERTIFICATE REQUEST")
	if der == nil {
		return nil, errors.New("signing request: no PEM block CERTIFICATE REQUEST")
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if err := checkPublicKey(csr.PublicKey); err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if validity <= 0 {
		return nil, fmt.Errorf("an intermediate can't be valid for %v", validity)
	}
	now := time.Now()
	if now.After(r.anchor.NotAfter) {
		return nil, &FileError{File: r.CertFile(), Err: errors.New("expired"), Hint: r.replaceHint()}
	}
	var id [4]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	cert, err := sign(&x509.Certificate{
		Subject: pkix.Name{
			Organization: []string{"wiretape"},
			CommonName:   "wiretape intermediate " + hex.EncodeToString(id[:]),
		},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              earlier(now.Add(validity), r.anchor.NotAfter),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		PublicKey:             csr.PublicKey,
	}, []*x509.Certificate{r.anchor}, r.key)
	if err != nil {
		return nil, fmt.Errorf("signing the intermediate: %w", err)
	}
	return append(encodeCert(cert.Raw), r.AnchorPEM()...), nil
}

func checkPublicKey(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize >= 256 {
			return nil
		}
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("a key of this kind or size (%T) gets no certificate", pub)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
