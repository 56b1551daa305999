package tape

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
)

func TestSecretsInFieldsAreReplaced(t *testing.T) {
	r := NewRedactor(RedactRules{Headers: []string{"X-Mine*"}, KeepHeaders: []string{"x-public-token"}})
	for _, c := range []struct{ name, value, want string }{
		{"Authorization", "Bearer sk-123", "Bearer REDACTED"},
		{"authorization", "Basic dTpw", "Basic REDACTED"},
		{"Authorization", "sk-123", "REDACTED"},
		{"Authorization", "my secret", "REDACTED"},
		{"Authorization", "AWS4-HMAC-SHA256 Credential=a/b, Signature=c", "AWS4-HMAC-SHA256 REDACTED"},
		{"Proxy-Authorization", "Digest username=\"a\"", "Digest REDACTED"},
		{"X-Forwarded-Authorization", "Bearer a", "Bearer REDACTED"},
		{"Cookie", "a=1; b=x=y;c; d=", "a=REDACTED; b=REDACTED;REDACTED; d="},
		{"Set-Cookie", "sid=abc; Path=/; HttpOnly; Max-Age=3", "sid=REDACTED; Path=/; HttpOnly; Max-Age=3"},
		{"Set-Cookie", "sid=\"a;bc\"; Secure", "sid=REDACTED;REDACTED; Secure"},
		{"Set-Cookie", "path=secret", "path=REDACTED"},
		{"Set-Cookie", "sid=; Max-Age=0", "sid=; Max-Age=0"},
		{"x-api-key", "k", "REDACTED"},
		{"api-key", "k", "REDACTED"},
		{"X-Goog-Api-Key", "k", "REDACTED"},
		{"X-ApiKey", "k", "REDACTED"},
		{"Ocp-Apim-Subscription-Key", "k", "REDACTED"},
		{"X-Amz-Security-Token", "k", "REDACTED"},
		{"X-Csrf-Token", "k", "REDACTED"},
		{"X-Auth-Token", "k", "REDACTED"},
		{"X-Client-Secret", "k", "REDACTED"},
		{"X-Auth", "k", "REDACTED"},
		{"X-Mine-Too", "k", "REDACTED"},
		{"X-Public-Token", "k", "k"},
		{"X-Api-Key", "", ""},
		{"Sec-WebSocket-Key", "dGhl", "dGhl"},
		{"Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.sk-1, v1", "realtime, openai-insecure-api-key.REDACTED, v1"},
		{"Idempotency-Key", "1", "1"},
		{"X-RateLimit-Remaining-Tokens", "12", "12"},
		{"Anthropic-Ratelimit-Tokens-Limit", "12", "12"},
		{"X-Token-Count", "12", "12"},
		{"Access-Control-Allow-Headers", "authorization", "authorization"},
		{"WWW-Authenticate", "Bearer realm=\"a\"", "Bearer realm=\"a\""},
		{"Content-Type", "application/json", "application/json"},
		{"Location", "/cb?code=1&access_token=x#id_token=y", "/cb?code=1&access_token=REDACTED#id_token=REDACTED"},
		{"Referer", "https://u:p@h/x?key=1", "https://REDACTED@h/x?key=REDACTED"},
		{"Link", "<https://h/?page=2&token=x>; rel=next, </b?sig=1>", "<https://h/?page=2&token=REDACTED>; rel=next, </b?sig=REDACTED>"},
		{"Operation-Location", "https://h/op?sig=1", "https://h/op?sig=REDACTED"},
		// By a word in the name.
		{"X-RapidAPI-Key", "k", "REDACTED"},
		{"DD-APPLICATION-KEY", "k", "REDACTED"},
		{"X-Parse-REST-API-Key", "k", "REDACTED"},
		{"X-Parse-Master-Key", "k", "REDACTED"},
		{"X-Parse-Session-Token", "k", "REDACTED"},
		{"Apikey", "k", "REDACTED"},
		{"Cf-Access-Jwt-Assertion", "a.b.c", "REDACTED"},
		{"X-Goog-Iap-Jwt-Assertion", "a.b.c", "REDACTED"},
		{"X-Amzn-Oidc-Data", "a.b.c", "REDACTED"},
		{"X-Amzn-Oidc-Accesstoken", "a.b.c", "REDACTED"},
		{"X-Jwt", "a.b.c", "REDACTED"},
		{"x-amz-server-side-encryption-customer-key", "k", "REDACTED"},
		{"X-Goog-Encryption-Key", "k", "REDACTED"},
		{"Authentication", "k", "REDACTED"},
		{"Authentication-Info", "nextnonce=\"a\"", "REDACTED"},
		{"Auth", "Bearer k", "Bearer REDACTED"},
		{"X-Hub-Signature-256", "sha256=ab", "REDACTED"},
		{"Stripe-Signature", "t=1,v1=ab", "REDACTED"},
		{"Sec-WebSocket-Accept", "dGhl", "dGhl"},
		{"X-Cache-Key", "a", "a"},
		{"Access-Control-Allow-Credentials", "true", "true"},
		// By its value's shape.
		{"X-Anything", "a ghp_abcdefghijklmnopqrstuvwxyz0123456789, b", "a ghp_REDACTED, b"},
		{"X-Claims", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "REDACTED"},
		{"WWW-Authenticate", "Digest realm=\"a, b\", nonce=\"n\\\"o\", qop=auth, opaque=o", "Digest realm=\"a, b\", nonce=\"REDACTED\", qop=auth, opaque=REDACTED"},
		{"WWW-Authenticate", "Negotiate TlRMTVNTUA==", "Negotiate REDACTED"},
		{"Set-Cookie", "a=1; Path=/, b=2; Expires=Wed, 21 Oct 2015 07:28:00 GMT, c=3; Secure",
			"a=REDACTED; Path=/, b=REDACTED; Expires=Wed, 21 Oct 2015 07:28:00 GMT, c=REDACTED; Secure"},
		{"Sec-WebSocket-Protocol", "graphql-ws, bearer, abc", "graphql-ws, bearer, REDACTED"},
		{"Sec-WebSocket-Protocol", "chat, 6f1ed002ab5595859014ebf0951522d9", "chat, REDACTED"},
		{"X-Next", "/a?token=1&b=2", "/a?token=REDACTED&b=2"},
	} {
		got := r.Field(c.name, c.value)
		if got != c.want {
			t.Errorf("%s: %s became %s, expected %s", c.name, c.value, got, c.want)
		}
		if again := r.Field(c.name, got); again != got {
			t.Errorf("%s: %s became %s the second time", c.name, got, again)
		}
	}
}

func TestSecretsInURLsAreReplaced(t *testing.T) {
	r := NewRedactor(RedactRules{Params: []string{"mine"}, KeepParams: []string{"sig"}})
	for _, c := range []struct{ in, want string }{
		{"https://h/p?key=abc&x=1", "https://h/p?key=REDACTED&x=1"},
		{"https://h/p?API_KEY=abc", "https://h/p?API_KEY=REDACTED"},
		{"https://h/p?api%5Fkey=abc", "https://h/p?api%5Fkey=REDACTED"},
		{"https://h/p?accessToken=abc&key=", "https://h/p?accessToken=REDACTED&key="},
		{"https://h/p?pageToken=abc&next_token=b&max_tokens=5", "https://h/p?pageToken=abc&next_token=b&max_tokens=5"},
		{"https://h/p?a=1;token=b;c&d=2", "https://h/p?a=1;token=REDACTED&d=2"},
		{"https://h/p?X-Amz-Signature=s&X-Amz-Date=d&X-Amz-Credential=c", "https://h/p?X-Amz-Signature=REDACTED&X-Amz-Date=d&X-Amz-Credential=REDACTED"},
		{"https://h/p?mine=1&sig=2&signature=3", "https://h/p?mine=REDACTED&sig=2&signature=REDACTED"},
		{"https://u:p@h:1/p@q", "https://REDACTED@h:1/p@q"},
		{"https://tok@h", "https://REDACTED@h"},
		{"//u@h/x", "//REDACTED@h/x"},
		{"https://h/a//b@c", "https://h/a//b@c"},
		{"https://h/p?&&=&a&%zz=1", "https://h/p?&&=&a&%zz=1"},
		{"https://h/p;jsessionid=0A1B2C3D4E5F6071;v=1/q?a=1", "https://h/p;jsessionid=REDACTED;v=1/q?a=1"},
		{"https://h/cb?code=4%2F0AX4XfWh1234567&state=x", "https://h/cb?code=REDACTED&state=x"},
		{"https://h/cb?code=DE&ticket=ST-1856339-aA5Yuvrxzpv8", "https://h/cb?code=DE&ticket=REDACTED"},
		{"https://h/acs?SAMLResponse=PHNhbWw&oauth_verifier=a", "https://h/acs?SAMLResponse=REDACTED&oauth_verifier=REDACTED"},
		{"https://h/p?next=https%3A%2F%2Fi%2F%3Ftoken%3Dabc&b=%2f", "https://h/p?next=https%3A%2F%2Fi%2F%3Ftoken%3DREDACTED&b=%2f"},
		{"/p?next=/q?token=abc", "/p?next=/q?token=REDACTED"},
		{"https://h/bot1234567890:AAFabcdefghijklmnopqrstuvwxyz012345/get", "https://h/botREDACTED/get"},
		{"https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx", "https://hooks.slack.com/services/REDACTED"},
		{"", ""},
	} {
		got := r.URL(c.in)
		if got != c.want {
			t.Errorf("%s became %s, expected %s", c.in, got, c.want)
		}
		if again := r.URL(got); again != got {
			t.Errorf("%s became %s the second time", got, again)
		}
	}
}

func TestRedactingLeavesTheOriginalAlone(t *testing.T) {
	var r *Redactor // the default rules
	fs := httpstream.Fields{{Name: "A", Value: "1"}, {Name: "Cookie", Value: "a=b"}}
	out := r.Fields(fs)
	if fs[1].Value != "a=b" || out[1].Value != "a=REDACTED" {
		t.Errorf("%v became %v", fs, out)
	}
	if same := r.Fields(fs[:1]); &same[0] != &fs[0] {
		t.Error("fields without a secret were copied")
	}
	x := &Exchange{Response: &Response{Head: httpstream.ResponseHead{Header: fs}}, Interim: []Response{{Head: httpstream.ResponseHead{Header: fs}}}}
	shared, interim := x.Response, x.Interim
	r.Exchange(x)
	if !reflect.DeepEqual(shared.Head.Header, fs) || !reflect.DeepEqual(interim[0].Head.Header, fs) || x.Response.Head.Header[1].Value != "a=REDACTED" {
		t.Error("a shared head was changed")
	}
}

func FuzzRedactTwice(f *testing.F) {
	f.Add("Authorization", "Bearer x")
	f.Add("Set-Cookie", "a=b; Path=/;c")
	f.Add("Link", "<https://u:p@h/?key=a;b#token=c?d>; x")
	f.Add("Sec-WebSocket-Protocol", "openai-insecure-api-key.a, b")
	r := NewRedactor(RedactRules{Headers: []string{"x-*"}, Params: []string{"p*"}})
	f.Fuzz(func(t *testing.T, name, value string) {
		once := r.Field(name, value)
		if twice := r.Field(name, once); twice != once {
			t.Errorf("field %q: %q, %q, %q", name, value, once, twice)
		}
		once = r.URL(value)
		if twice := r.URL(once); twice != once {
			t.Errorf("URL: %q, %q, %q", value, once, twice)
		}
	})
}

func TestSecretsAreTakenOutOfTexts(t *testing.T) {
	var r *Redactor
	for in, want := range map[string]string{
		`Get "https://api.example/v1?api_key=sk-1&x=2": EOF`: `Get "https://api.example/v1?api_key=REDACTED&x=2": EOF`,
		"GET /v1?token=abc HTTP/1.1":                         "GET /v1?token=REDACTED HTTP/1.1",
		"dial https://u:p@h/: refused":                       "dial https://REDACTED@h/: refused",
		"a (see /x?sig=1) and <https://h/#access_token=2>":   "a (see /x?sig=REDACTED) and <https://h/#access_token=REDACTED>",
		"the server closed the connection":                   "the server closed the connection",
		"is it? a=b":                                         "is it? a=b",
	} {
		if got := r.Text(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
		if again := r.Text(r.Text(in)); again != want {
			t.Errorf("%s: again %s", in, again)
		}
	}
}

// What a Redactor remembers of names changes nothing of what it does with them.
func TestARedactorThatHasSeenNamesRedactsAsANewOne(t *testing.T) {
	rules := RedactRules{Headers: []string{"x-own-*"}, KeepHeaders: []string{"x-kept-token"}}
	used := NewRedactor(rules)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 2 {
				for i := range maxPlain + 50 {
					for _, name := range []string{
						"Content-Type", "content-type", "Authorization", "X-Api-Key", "X-Own-Thing", "X-Kept-Token", "Cookie", "Referer",
						fmt.Sprintf("X-Name-%d", i), fmt.Sprintf("X-Token-%d", i), strings.Repeat("x", i),
					} {
						for _, value := range []string{"", "plain", "Bearer secret", "https://u:p@a/?key=secret", "a=b; c=d"} {
							if got, want := used.Field(name, value), NewRedactor(rules).Field(name, value); got != want {
								t.Errorf("%s: %s is kept as %q, and by a new one as %q", name, value, got, want)
							}
						}
					}
				}
			}
		})
	}
	wait.Wait()
	if n := len(*used.plain.Load()); n > maxPlain {
		t.Errorf("%d names are remembered", n)
	}
}
