package mitmtls

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/wiretape/wiretape/dev/needs"
)

func TestMergeBundleKeepsOwnRootsAndAddsOurs(t *testing.T) {
	ours, own, other := newRoot(t).Anchor(), newRoot(t).AnchorPEM(), newRoot(t).AnchorPEM()
	unparsable := encodeCert([]byte("runtimes may know what this is"))
	trusted := pem.EncodeToMemory(&pem.Block{Type: "TRUSTED CERTIFICATE", Bytes: []byte("with trust settings")})
	var in []byte
	for _, part := range [][]byte{[]byte("# a comment\n"), own, unparsable, other, own, trusted, other} {
		in = append(in, part...)
	}
	want := bytes.Join([][]byte{own, unparsable, other, trusted, encodeCert(ours.Raw)}, nil)
	got := MergeBundle(in, ours)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if again := MergeBundle(got, ours); !bytes.Equal(again, got) {
		t.Error("merging twice changes the bundle")
	}
	if crlf := MergeBundle(bytes.ReplaceAll(in, []byte("\n"), []byte("\r\n")), ours); !bytes.Equal(crlf, got) {
		t.Error("line ends of Windows change the bundle")
	}
}

func TestMergeBundleReplacesTheRootThatTheAnchorStandsFor(t *testing.T) {
	r, err := LoadOrCreateRoot(writeCAROOT(t, ecKey(t), nil))
	if err != nil {
		t.Fatal(err)
	}
	got := MergeBundle(encodeCert(r.Certificate().Raw), r.Anchor())
	if !bytes.Equal(got, r.AnchorPEM()) {
		t.Error("both certificates of the same name and key are in the bundle")
	}
}

func TestMozillaRootsAreComplete(t *testing.T) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(MozillaRoots()) {
		t.Fatal("no roots")
	}
	if n := len(certificates(MozillaRoots())); n < 100 {
		t.Errorf("%d roots", n)
	}
}

func TestBundleFiles(t *testing.T) {
	r := newRoot(t)
	bundle := MergeBundle(MozillaRoots(), r.Anchor())
	files, err := BundleFiles("/run/wiretape", bundle, r.Anchor())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(files["ca-bundle.pem"], bundle) || !bytes.Equal(files["wiretape-ca.pem"], r.AnchorPEM()) {
		t.Error("the PEM files are not the bundle and our root")
	}
	if ini := string(files["php.d/wiretape.ini"]); ini != "openssl.cafile=\"/run/wiretape/ca-bundle.pem\"\ncurl.cainfo=\"/run/wiretape/ca-bundle.pem\"\n" {
		t.Errorf("php.ini is %q", ini)
	}
	hash, err := subjectHash(r.Anchor().Raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := files[fmt.Sprintf("certs/%08x.0", hash)]; !bytes.Equal(got, r.AnchorPEM()) {
		t.Error("our root is not under its hash")
	}
	want := len(certificates(bundle))
	inDir := 0
	for name := range files {
		if strings.HasPrefix(name, "certs/") {
			inDir++
		}
	}
	store, err := pkcs12.DecodeTrustStore(files["truststore.p12"], "")
	if err != nil {
		t.Fatal(err)
	}
	if inDir != want || len(store) != want {
		t.Errorf("%d files and %d in the trust store, want %d", inDir, len(store), want)
	}
}

func TestEqualSubjectsGetNumberedFiles(t *testing.T) {
	a, err := LoadOrCreateRoot(writeCAROOT(t, ecKey(t), nil))
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadOrCreateRoot(writeCAROOT(t, ecKey(t), nil))
	if err != nil {
		t.Fatal(err)
	}
	files, err := BundleFiles("/x", MergeBundle(nil, a.Anchor(), b.Anchor()), a.Anchor())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name := range files {
		if strings.HasPrefix(name, "certs/") {
			got = append(got, name[len(name)-2:])
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{".0", ".1"}) {
		t.Errorf("files end in %q", got)
	}
}

// withSubject is a self-signed certificate whose subject is the DER given.
func withSubject(t testing.TB, subject []byte) []byte {
	t.Helper()
	key, err := NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), RawSubject: subject,
		NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.key.Public(), key.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// name encodes a Name of the attributes, each a relative name of its own, with
// the string type of the tag.
func name(t testing.TB, tag int, values ...string) []byte {
	t.Helper()
	type attribute struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	var seq []asn1.RawValue
	for i, v := range values {
		der, err := asn1.MarshalWithParams([]attribute{{
			Type:  asn1.ObjectIdentifier{2, 5, 4, 10 + i%2},
			Value: asn1.RawValue{Tag: tag, Bytes: []byte(v)},
		}}, "set")
		if err != nil {
			t.Fatal(err)
		}
		seq = append(seq, asn1.RawValue{FullBytes: der})
	}
	der, err := asn1.Marshal(seq)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestSubjectHashIsOpenSSLs(t *testing.T) {
	needs.Time(t)
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	certs := map[string][]byte{
		"our root":             newRoot(t).Anchor().Raw,
		"no subject":           withSubject(t, []byte{0x30, 0}),
		"UTF-8 with spaces":    withSubject(t, name(t, 12, "  B\u00fccher  \t UND  mehr ", "CN")),
		"PrintableString":      withSubject(t, name(t, 19, "Some  Company", "ROOT Ca")),
		"T61String":            withSubject(t, name(t, 20, "B\xfccher GmbH")),
		"IA5String":            withSubject(t, name(t, 22, "A@B.c")),
		"BMPString":            withSubject(t, name(t, 30, "\x00B\x00\xfc\x20\xac\x00 \x00 \x00X")),
		"UniversalString":      withSubject(t, name(t, 28, "\x00\x00\x00B\x00\x01\xf6\x00")),
		"NumericString":        withSubject(t, name(t, 18, "12 34")),
		"several at one level": withSubject(t, multi(t)),
	}
	n := 0
	for der := range slices.Values(certificates(MozillaRoots())) {
		if n++; n <= 25 {
			certs[fmt.Sprintf("Mozilla's %d", n)] = der
		}
	}
	for title, der := range certs {
		t.Run(title, func(t *testing.T) {
			cmd := exec.Command(openssl, "x509", "-noout", "-subject_hash")
			cmd.Stdin = bytes.NewReader(encodeCert(der))
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			got, err := subjectHash(der)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimSpace(string(out)); fmt.Sprintf("%08x", got) != want {
				t.Errorf("got %08x, want %s", got, want)
			}
		})
	}
}

// multi is a Name with one relative name of two attributes, whose order changes
// when the strings are folded.
func multi(t testing.TB) []byte {
	der, err := asn1.Marshal(pkix.RDNSequence{{
		{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "a b"},
		{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "Z   y"},
	}, {{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "Org"}}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestSubjectHashKnownValues(t *testing.T) {
	// From `openssl x509 -subject_hash`, for machines without it.
	for want, cn := range map[string]string{"607986c7": "DigiCert Global Root G2", "4042bcee": "ISRG Root X1"} {
		found := false
		for _, der := range certificates(MozillaRoots()) {
			c, err := x509.ParseCertificate(der)
			if err != nil || c.Subject.CommonName != cn {
				continue
			}
			found = true
			if got, err := subjectHash(der); err != nil || fmt.Sprintf("%08x", got) != want {
				t.Errorf("%s: got %08x, %v; want %s", cn, got, err, want)
			}
		}
		if !found {
			t.Errorf("%s is not among Mozilla's roots", cn)
		}
	}
}

func FuzzBundle(f *testing.F) {
	f.Add(encodeCert(withSubject(f, name(f, 12, "A b"))))
	f.Add(encodeCert(withSubject(f, multi(f))))
	f.Add([]byte("-----BEGIN TRUSTED CERTIFICATE-----\nAAAA\n-----END TRUSTED CERTIFICATE-----\n"))
	f.Add([]byte("# nothing\n"))
	f.Fuzz(func(t *testing.T, own []byte) {
		once := MergeBundle(own)
		if !bytes.Equal(MergeBundle(once), once) {
			t.Error("merging is not idempotent")
		}
		if _, err := BundleFiles("/x", once); err != nil {
			t.Error(err)
		}
	})
}

func FuzzSubjectHash(f *testing.F) {
	f.Add(withSubject(f, name(f, 30, "\x00a")))
	f.Add(withSubject(f, multi(f)))
	f.Fuzz(func(t *testing.T, der []byte) { _, _ = subjectHash(der) })
}

func TestMergeEnv(t *testing.T) {
	const dir = "/run/wiretape"
	for _, tc := range []struct {
		name  string
		user  map[string]string
		want  map[string]string // of what differs from TrustEnv; empty: not set
		files []EnvFile
		kept  []EnvFile
	}{
		{name: "an empty environment"},
		{name: "variables that are none of ours", user: map[string]string{"PATH": "/bin", "SSL_CERT": "/x"}},
		{name: "empty values", user: map[string]string{"SSL_CERT_FILE": "", "SSL_CERT_DIR": "", "JAVA_TOOL_OPTIONS": "", "NODE_EXTRA_CA_CERTS": ""}},
		{name: "our own values", user: TrustEnv(dir)},
		{
			name:  "a file that replaces roots is merged",
			user:  map[string]string{"SSL_CERT_FILE": "/app/ca.pem", "REQUESTS_CA_BUNDLE": "ca.pem"},
			files: []EnvFile{{"SSL_CERT_FILE", "/app/ca.pem"}, {"REQUESTS_CA_BUNDLE", "ca.pem"}},
		},
		{
			name:  "a file that adds roots is merged, and all are added",
			user:  map[string]string{"NODE_EXTRA_CA_CERTS": "/app/corp.pem"},
			want:  map[string]string{"NODE_EXTRA_CA_CERTS": dir + "/ca-bundle.pem"},
			files: []EnvFile{{"NODE_EXTRA_CA_CERTS", "/app/corp.pem"}},
		},
		{
			name: "folders stay in the list",
			user: map[string]string{"SSL_CERT_DIR": "/a:/b"},
			want: map[string]string{"SSL_CERT_DIR": dir + "/certs:/a:/b"},
		},
		{
			name: "PHP's folders stay in the list, before ours",
			user: map[string]string{"PHP_INI_SCAN_DIR": "/etc/php.d:"},
			want: map[string]string{"PHP_INI_SCAN_DIR": "/etc/php.d::" + dir + "/php.d"},
		},
		{
			name: "options of Java stay",
			user: map[string]string{"JAVA_TOOL_OPTIONS": "-Xmx1g -Dx=y"},
			want: map[string]string{"JAVA_TOOL_OPTIONS": "-Xmx1g -Dx=y -Djavax.net.ssl.trustStore=" + dir + "/truststore.p12 -Djavax.net.ssl.trustStoreType=PKCS12"},
		},
		{
			name: "a trust store of the user's stays",
			user: map[string]string{"JAVA_TOOL_OPTIONS": "-Djavax.net.ssl.trustStore=/app/store.jks -Djavax.net.ssl.trustStorePassword=x"},
			want: map[string]string{"JAVA_TOOL_OPTIONS": ""},
			kept: []EnvFile{{"JAVA_TOOL_OPTIONS", "/app/store.jks"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := maps.Clone(tc.user)
			got := MergeEnv(tc.user, dir)
			want := TrustEnv(dir)
			for k, v := range tc.want {
				if want[k] = v; v == "" {
					delete(want, k)
				}
			}
			if diff := cmp.Diff(EnvMerge{want, tc.files, tc.kept}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if !maps.Equal(before, tc.user) {
				t.Error("the caller's environment was changed")
			}
		})
	}
}

func TestTrustEnvNamesFilesThatExist(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, newRoot(t))
	for name, value := range TrustEnv(dir) {
		for _, word := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" =:", r) }) {
			if !strings.HasPrefix(word, "/") {
				continue
			}
			if _, err := os.Stat(word); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// mount writes the files that a container gets into dir.
func mount(t *testing.T, dir string, r *Root) {
	t.Helper()
	files, err := BundleFiles(dir, MergeBundle(MozillaRoots(), r.Anchor()), r.Anchor())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
