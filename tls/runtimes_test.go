package mitmtls

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/dev/needs"
)

// The runtimes that people have in containers, with nothing but the files and
// variables that a container gets. Those that are not installed are skipped.

const pythonClient = `
import ssl, sys, urllib.request
ctx = ssl.create_default_context()
ctx.verify_flags |= ssl.VERIFY_X509_STRICT
ctx.verify_flags &= ~ssl.VERIFY_X509_PARTIAL_CHAIN if hasattr(ssl, "VERIFY_X509_PARTIAL_CHAIN") else ~0
print(urllib.request.urlopen(sys.argv[1], context=ctx).read().decode())
`

const nodeClient = `
require("https").get(process.argv[1], r => r.on("data", d => process.stdout.write(d)))
	.on("error", e => { console.error(e); process.exit(1) })
`

const javaClient = `
public class Client {
	public static void main(String[] args) throws Exception {
		System.out.write(new java.net.URL(args[0]).openStream().readAllBytes());
		System.out.flush();
	}
}
`

func TestRuntimesTrustUs(t *testing.T) {
	needs.Time(t)
	for title, dir := range map[string]string{
		"our own root":                   t.TempDir(),
		"an RSA root as mkcert makes it": writeCAROOT(t, rsaKey(t, 3072), nil),
	} {
		t.Run(title, func(t *testing.T) {
			r, err := LoadOrCreateRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			trust := t.TempDir()
			mount(t, trust, r)
			addr := serve(t, newIssuer(t, r))
			_, port, _ := net.SplitHostPort(addr)
			url := "https://localhost:" + port + "/"
			source := filepath.Join(t.TempDir(), "Client.java")
			write(t, source, []byte(javaClient), 0o600)
			for _, argv := range [][]string{
				{"curl", "-sS", "--noproxy", "*", url},
				{"curl", "-sS", "--noproxy", "*", "https://127.0.0.1:" + port + "/"},
				{"python3", "-c", pythonClient, url},
				{"python3", "-c", pythonClient, "https://127.0.0.1:" + port + "/"},
				{"node", "-e", nodeClient, url},
				// Java sends no SNI for a name without a dot.
				{"java", source, "https://127.0.0.1:" + port + "/"},
			} {
				t.Run(argv[0]+" "+argv[len(argv)-1][8:11], func(t *testing.T) { get(t, trust, argv) })
			}
		})
	}
}

func get(t *testing.T, trust string, argv []string) {
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "NO_PROXY=*"}
	for name, value := range TrustEnv(trust) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "hello ") {
		t.Errorf("got %q, %v\n%s", out, err, stderr.Bytes())
	}
}

func TestOpenSSLVerifiesStrictly(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip(err)
	}
	r := newRoot(t)
	c := leaf(t, newIssuer(t, r), "a.example")
	dir, trust := t.TempDir(), t.TempDir()
	mount(t, trust, r)
	write(t, filepath.Join(dir, "leaf.pem"), encodeCert(c.Certificate[0]), 0o600)
	write(t, filepath.Join(dir, "chain.pem"), encodeCert(c.Certificate[1]), 0o600)
	for name, store := range map[string][]string{
		"with the file":   {"-CAfile", filepath.Join(trust, bundleFile), "-no-CApath", "-no-CAstore"},
		"with the folder": {"-CApath", filepath.Join(trust, certsDir), "-no-CAfile", "-no-CAstore"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "a.example",
				"-untrusted", filepath.Join(dir, "chain.pem")}, store...)
			if out, err := exec.Command("openssl", append(args, filepath.Join(dir, "leaf.pem"))...).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
