package mitmtls

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"path"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"
	"software.sslmate.com/src/go-pkcs12"
)

// The files of the folder that is mounted into a container.
const (
	bundleFile = "ca-bundle.pem"   // all roots
	oursFile   = "wiretape-ca.pem" // our root alone, for what adds it to its own
	certsDir   = "certs"           // all roots, each as <subject hash>.<n>
	storeFile  = "truststore.p12"  // all roots, for Java
	phpDir     = "php.d"
	phpFile    = phpDir + "/wiretape.ini"
)

// ContainerRootFiles lists where operating systems keep their bundle of roots,
// as absolute paths in a container. The first that exists, with symbolic links
// followed, has the container's own roots.
func ContainerRootFiles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Alpine, Arch, Gentoo, NixOS
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL, Fedora, Amazon Linux
		"/etc/pki/tls/certs/ca-bundle.crt",                  // the same, older
		"/var/lib/ca-certificates/ca-bundle.pem",            // SUSE
		"/etc/ssl/ca-bundle.pem",                            // SUSE, older
		"/etc/ca-certificates/extracted/tls-ca-bundle.pem",  // Arch
		"/etc/ssl/certs/ca-bundle.crt",                      // NixOS, Void
		"/etc/ssl/cert.pem",                                 // Alpine, BSD
		"/etc/pki/tls/cacert.pem",                           // OpenELEC
	}
}

// MozillaRoots is Mozilla's bundle as PEM, for a container without roots. As in
// curl's copy of it, the roots that Mozilla trusts with conditions only are in
// it, since PEM can't say the conditions.
func MozillaRoots() []byte {
	var out []byte
	for r := range bundle.Roots() {
		out = append(out, encodeCert(r.Certificate)...)
	}
	return out
}

// MergeBundle adds roots to a PEM bundle. It drops comments, certificates that
// come twice, and those with the subject and key of an added root, because
// OpenSSL takes the first that it finds of a name and mkcert's roots forbid our
// intermediates. Certificates that Go can't parse are kept, and so are
// OpenSSL's TRUSTED CERTIFICATE blocks.
func MergeBundle(own []byte, roots ...*x509.Certificate) []byte {
	seen := map[[sha256.Size]byte]bool{}
	added := func(der []byte) bool {
		sum := sha256.Sum256(der)
		if seen[sum] {
			return false
		}
		seen[sum] = true
		return true
	}
	var out []byte
	for {
		var block *pem.Block
		if block, own = pem.Decode(own); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE", "X509 CERTIFICATE":
			if !replacedBy(block.Bytes, roots) && added(block.Bytes) {
				out = append(out, encodeCert(block.Bytes)...)
			}
		case "TRUSTED CERTIFICATE":
			if added(block.Bytes) {
				out = append(out, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
			}
		}
	}
	for _, r := range roots {
		if added(r.Raw) {
			out = append(out, encodeCert(r.Raw)...)
		}
	}
	return out
}

func replacedBy(der []byte, roots []*x509.Certificate) bool {
	for _, r := range roots {
		if !bytes.Contains(der, r.RawSubjectPublicKeyInfo) || bytes.Equal(der, r.Raw) {
			continue
		}
		if c, err := x509.ParseCertificate(der); err == nil && bytes.Equal(c.RawSubject, r.RawSubject) &&
			bytes.Equal(c.RawSubjectPublicKeyInfo, r.RawSubjectPublicKeyInfo) {
			return true
		}
	}
	return false
}

// BundleFiles lays out the folder that TrustEnv points into: file contents by
// slash-separated path below dir, the folder's absolute path in the container.
// The bundle is PEM from MergeBundle, and the roots are ours.
func BundleFiles(dir string, bundle []byte, roots ...*x509.Certificate) (map[string][]byte, error) {
	ours := MergeBundle(nil, roots...)
	all := path.Join(dir, bundleFile)
	files := map[string][]byte{
		bundleFile: bundle,
		oursFile:   ours,
		phpFile:    fmt.Appendf(nil, "openssl.cafile=%q\ncurl.cainfo=%q\n", all, all),
	}
	ders := certificates(bundle)
	next := map[uint32]int{}
	for _, der := range ders {
		hash, err := subjectHash(der)
		if err != nil {
			return nil, fmt.Errorf("a certificate of the bundle: %w", err)
		}
		files[fmt.Sprintf("%s/%08x.%d", certsDir, hash, next[hash])] = encodeCert(der)
		next[hash]++
	}
	store, err := trustStore(ders)
	if err != nil {
		return nil, fmt.Errorf("the trust store for Java: %w", err)
	}
	files[storeFile] = store
	return files, nil
}

// certificates returns the certificates of a bundle that have the outer form
// of one. Runtimes skip the others or reject the file, as they did before.
func certificates(bundle []byte) [][]byte {
	var ders [][]byte
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return ders
		}
		if !strings.HasSuffix(block.Type, "CERTIFICATE") || block.Type == "TRUSTED CERTIFICATE" {
			continue
		}
		if _, err := subjectHash(block.Bytes); err == nil {
			ders = append(ders, block.Bytes)
		}
	}
}

// trustStore is a PKCS #12 file without password, encryption or MAC, which Java
// reads when none is set.
func trustStore(ders [][]byte) ([]byte, error) {
	entries := make([]pkcs12.TrustStoreEntry, len(ders))
	for i, der := range ders {
		sum := sha256.Sum256(der)
		entries[i] = pkcs12.TrustStoreEntry{
			Cert: &x509.Certificate{Raw: der},
			// Aliases must differ, or Java takes entries for one.
			FriendlyName: hex.EncodeToString(sum[:16]),
		}
	}
	return pkcs12.Passwordless.EncodeTrustStoreEntries(entries, "")
}
