package mitmtls

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// fileVars are the variables that name a file of roots, which replaces a
// runtime's own.
var fileVars = [...]string{
	"SSL_CERT_FILE",                    // OpenSSL, Go, Ruby, rustls-native-certs
	"REQUESTS_CA_BUNDLE",               // Python requests
	"CURL_CA_BUNDLE",                   // the curl tool, Python requests
	"PIP_CERT",                         // pip
	"AWS_CA_BUNDLE",                    // AWS CLI and SDKs
	"GIT_SSL_CAINFO",                   // git
	"CARGO_HTTP_CAINFO",                // cargo
	"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", // gRPC core
	"NIX_SSL_CERT_FILE",                // programs of Nix
}

// extraVars are the variables that name a file of roots, which is added to a
// runtime's own.
var extraVars = [...]string{"NODE_EXTRA_CA_CERTS", "DENO_CERT"}

const (
	certDirVar     = "SSL_CERT_DIR"
	phpVar         = "PHP_INI_SCAN_DIR"
	javaVar        = "JAVA_TOOL_OPTIONS"
	javaTrustStore = "-Djavax.net.ssl.trustStore="
)

// TrustEnv returns the variables that make runtimes trust the files of
// BundleFiles in dir, in a container that sets none of them itself.
func TrustEnv(dir string) map[string]string {
	return MergeEnv(nil, dir).Env
}

// An EnvMerge is what MergeEnv found.
type EnvMerge struct {
	// Env has the variables to set, in place of the container's own.
	Env map[string]string
	// Files are the container's own files of roots that its variables named.
	// They must be merged into the bundle, as those variables now name that.
	Files []EnvFile
	// Kept are the container's own variables that were left as they are,
	// though their programs then don't trust us.
	Kept []EnvFile
}

// An EnvFile is a path in a container, relative to its working directory if it
// is not absolute, and the variable that names it.
type EnvFile struct {
	Variable, Path string
}

// MergeEnv returns the variables of TrustEnv for a container whose environment
// (its image's, with its service's on top) is user. What the user's variables
// pointed at stays in force: files are reported, to be merged into the bundle,
// and lists and options are added to. A Java trust store of the user's own is
// kept, since it can have a password.
func MergeEnv(user map[string]string, dir string) EnvMerge {
	m := EnvMerge{Env: map[string]string{}}
	all, ours := path.Join(dir, bundleFile), path.Join(dir, oursFile)
	for _, name := range fileVars {
		m.Env[name] = all
		m.report(user, name, dir)
	}
	for _, name := range extraVars {
		m.Env[name] = ours
		if m.report(user, name, dir) {
			m.Env[name] = all
		}
	}
	m.Env[certDirVar] = joinList(path.Join(dir, certsDir), user[certDirVar])
	// PHP scans an empty element as the folder that it was built with, and
	// the last file to set a value wins.
	m.Env[phpVar] = withoutElement(user[phpVar], path.Join(dir, phpDir)) + ":" + path.Join(dir, phpDir)
	m.java(user[javaVar], path.Join(dir, storeFile))
	return m
}

// report notes the file that a variable of the user's names, if any.
func (m *EnvMerge) report(user map[string]string, name, dir string) bool {
	file := user[name]
	if file == "" || path.Dir(path.Clean(file)) == path.Clean(dir) {
		return false
	}
	m.Files = append(m.Files, EnvFile{Variable: name, Path: file})
	return true
}

func (m *EnvMerge) java(user, store string) {
	fields := strings.Fields(user)
	option := javaTrustStore + store
	switch {
	case slices.Contains(fields, option):
		m.Env[javaVar] = user
		return
	case slices.ContainsFunc(fields, func(f string) bool { return strings.HasPrefix(f, javaTrustStore) }):
		for _, f := range fields {
			if file, ok := strings.CutPrefix(f, javaTrustStore); ok {
				m.Kept = append(m.Kept, EnvFile{Variable: javaVar, Path: file})
			}
		}
		return
	}
	options := option + " -Djavax.net.ssl.trustStoreType=PKCS12"
	if user != "" {
		options = user + " " + options
	}
	m.Env[javaVar] = options
}

// joinList puts first in front of a colon-separated list.
func joinList(first, list string) string {
	if rest := withoutElement(list, first); rest != "" {
		return first + ":" + rest
	}
	return first
}

func withoutElement(list, element string) string {
	if list == "" {
		return ""
	}
	parts := strings.Split(list, ":")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == element }), ":")
}

// Names returns the variables that are set, sorted.
func (m EnvMerge) Names() []string { return slices.Sorted(maps.Keys(m.Env)) }
