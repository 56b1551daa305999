package secret

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// fake makes n characters of an alphabet that look like a key's.
func fake(alphabet string, n int) string {
	r := rand.New(rand.NewPCG(uint64(n), uint64(len(alphabet))))
	var b strings.Builder
	for range n {
		b.WriteByte(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

const (
	digits  = "0123456789"
	lower   = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	hexes   = "0123456789abcdef"
	letters = digits + lower + upper
)

func fakeJWT(claims string) string {
	e := base64.RawURLEncoding.EncodeToString
	return e([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + e([]byte(claims)) + "." + fake(letters+"-_", 86)
}

// tokens are fake ones, each with the prefix that stays.
func tokens() map[string]string {
	return map[string]string{
		"openai":         "sk-proj-" + fake(letters+"_-", 74) + "T3BlbkFJ" + fake(letters+"_-", 74),
		"openai, short":  "sk-" + fake(letters, 48),
		"anthropic":      "sk-ant-api03-" + fake(letters+"_-", 93) + "AA",
		"google":         "AIza" + fake(letters+"_-", 35),
		"google oauth":   "ya29." + fake(letters+"_-", 60),
		"aws":            "AKIA" + fake(upper+"234567", 16),
		"github":         "ghp_" + fake(letters, 36),
		"github, longer": "ghp_" + fake(letters, 60),
		"gitlab":         "glpat-" + fake(letters, 20),
		"slack":          "xoxb-" + fake(digits, 12) + "-" + fake(digits, 12) + "-" + fake(letters, 24),
		"stripe":         "sk_live_" + fake(letters, 24),
		"hugging face":   "hf_" + fake(lower, 34),
		"groq":           "gsk_" + fake(letters, 52),
		"npm":            "npm_" + fake(lower+digits, 36),
		"sendgrid":       "SG." + fake(letters, 22) + "." + fake(letters, 43),
		"twilio":         "SK" + fake(hexes, 32),
		"shopify":        "shpat_" + fake(hexes, 32),
		"jwt":            fakeJWT(`{"iss":"https://idp.test","sub":"user-1234567890","email":"jane@corp.test","exp":1893456000}`),
	}
}

func replaced(t Text, in string) string {
	out := []byte(in)
	(*Finder)(nil).Replace(t, NewStandIns(), out)
	return string(out)
}

func TestATokenIsReplacedWhereverItStands(t *testing.T) {
	for name, secret := range tokens() {
		for what, tc := range map[string]struct {
			text   Text
			format string
		}{
			"JSON":              {Text{}, `{"a":"%s","b":1}`},
			"the end of JSON":   {Text{}, `{"a":"x %s"}`},
			"an event":          {Text{}, "event: x\ndata: {\"a\":\"Bearer %s\"}\n\n"},
			"JSON in JSON":      {Text{}, `{"arguments":"{\"a\":\"%s\"}"}`},
			"text":              {Text{}, "the key is %s, keep it"},
			"the end of text":   {Text{}, "the key is %s"},
			"a form":            {Text{Form: true}, "a=1&x=%s&b=2"},
			"a URL":             {Text{}, `{"u":"https://h.test/p?x=%s&y=2"}`},
			"protobuf":          {Text{Binary: true}, "\x0a\x30%s\x12\x02ok"},
			"protobuf, printed": {Text{Binary: true}, "\x62\x41%s\x1a\x02ok"},
			"a part":            {Text{Parts: true}, "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n%s\r\n--b--\r\n"},
			"code":              {Text{Code: true}, "const k = '%s';"},
		} {
			in := fmt.Sprintf(tc.format, secret)
			out := replaced(tc.text, in)
			if strings.Contains(out, secret) || strings.Contains(out, secret[len(secret)-10:]) {
				t.Errorf("%s is left in %s: %q", name, what, out)
			}
			if len(out) != len(in) {
				t.Errorf("%s in %s has another length", name, what)
			}
			before, after, _ := strings.Cut(tc.format, "%s")
			if !strings.HasPrefix(out, before) || !strings.HasSuffix(out, after) {
				t.Errorf("%s in %s: what is beside it changed: %q", name, what, out)
			}
		}
	}
}

func TestAValueIsReplacedForItsName(t *testing.T) {
	for in, want := range map[string]string{
		`{"password":"hunter2","user":"jane"}`:                   `{"password":"xxxxxx0","user":"jane"}`,
		`{"password" : "hunter2" }`:                              `{"password" : "xxxxxx0" }`,
		`{"client_secret": "S3cr\"et\\"}`:                        `{"client_secret": "X0xx\"xx\\"}`,
		`{"passw\u006frd":"hunter2"}`:                            `{"passw\u006frd":"xxxxxx0"}`,
		`{"password":"h\u00e9llo"}`:                              `{"password":"x\u00e9xxx"}`,
		`{"password":"müller"}`:                                  `{"password":"x×xxxx"}`,
		`{"password":4711}`:                                      `{"password":1000}`,
		`{"password":null,"secret":true,"a":1}`:                  `{"password":null,"secret":true,"a":1}`,
		`{"password":""}`:                                        `{"password":""}`,
		`{"password":{"type":"string"}}`:                         `{"password":{"type":"string"}}`,
		`{"api_keys":1,"apiKey":["zy","yz"],"x":"zy"}`:           `{"api_keys":1,"apiKey":["xx","xx"],"x":"zy"}`,
		`{"a":"{\"password\":\"hunter2\",\"b\":\"c\"}"}`:         `{"a":"{\"password\":\"xxxxxx0\",\"b\":\"c\"}"}`,
		`{"a":"{\"b\":\"{\\\"password\\\":\\\"hunter2\\\"}\"}"}`: `{"a":"{\"b\":\"{\\\"password\\\":\\\"xxxxxx0\\\"}\"}"}`,
		"data: {\"password\":\ndata: \"hunter2\"}\n\n":           "data: {\"password\":\ndata: \"xxxxxx0\"}\n\n",
		"5\" wide\n{\"password\":\"hunter2\"}":                   "5\" wide\n{\"password\":\"xxxxxx0\"}",
		`5" wide {"password":"hunter2"}`:                         `5" wide {"password":"xxxxxx0"}`,
		// What is about a secret, or what a model says, stays.
		`{"token":"international","logprob":-0.3}`:        `{"token":"international","logprob":-0.3}`,
		`{"token":" the"},{"max_tokens":4096}`:            `{"token":" the"},{"max_tokens":4096}`,
		`{"next_page_token":"CAUQAA1234567890"}`:          `{"next_page_token":"CAUQAA1234567890"}`,
		`{"password_hint":"the dog","api_key_id":"key1"}`: `{"password_hint":"the dog","api_key_id":"key1"}`,
		`{"total_tokens":123456789012}`:                   `{"total_tokens":123456789012}`,
		`{"signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3hGg"}`:  `{"signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3hGg"}`,
	} {
		if got := replaced(Text{}, in); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"user=jane&password=hunter2":         "user=jane&password=xxxxxx0",
		"client%5Fsecret=yz12&grant=x":       "client%5Fsecret=xx00&grant=x",
		"key=yz12&password=y;z&max_tokens=5": "key=xx00&password=x;x&max_tokens=5",
	} {
		if got := replaced(Text{Form: true}, in); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
}

func TestOtherPlacesOfSecrets(t *testing.T) {
	const key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
	for what, in := range map[string]string{
		"a private key":            "-----BEGIN RSA PRIVATE KEY-----\n" + key + "\n-----END RSA PRIVATE KEY-----\n",
		"a private key in JSON":    `{"k":"-----BEGIN PRIVATE KEY-----\n` + key + `\n-----END PRIVATE KEY-----\n"}`,
		"half a private key":       "-----BEGIN PRIVATE KEY-----\n" + key,
		"a connection string":      "postgres://app:" + key + "@db.test:5432/x",
		"one without a user":       `{"r":"redis://:` + key + `@cache.test"}`,
		"ADO's":                    "Server=db.test;User Id=app;Password=" + key + ";",
		"a slack webhook":          `{"u":"https://hooks.slack.com/services/T01234567/B01234567/` + key[:24] + `"}`,
		"a URL's parameter":        `{"u":"/x?api_key=` + key + `&b=1"}`,
		"a token behind its name":  `{"access_token":"` + key + `","expires_in":3600}`,
		"a session":                `{"sessionId":"` + key + `"}`,
		"an ephemeral key":         `{"client_secret":{"value":"ek_` + key + `","expires_at":1}}`,
		"an array of credentials":  `{"secrets":["x"],"client_secret":[ "a","` + key + `"]}`,
		"a string cut off":         `{"password":"` + key,
		"a telegram bot":           "https://api.telegram.test/bot1234567890:AAF" + key[:32] + "/getMe",
		"a token with a line end":  `{"refresh_token":"` + key + "\nx",
		"a name in capital letter": `{"Password":"` + key + `"}`,
	} {
		if got := replaced(Text{}, in); strings.Contains(got, key[:20]) || strings.Contains(got, key[20:]) || len(got) != len(in) {
			t.Errorf("%s: %s", what, got)
		}
	}
	in := "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue1\r\n--b\r\ncontent-disposition: form-data; name=password\r\n" +
		"X: y\r\n\r\nhunter2\r\nmore\r\n--b\r\n\r\nhunter2\r\n--b--\r\n"
	want := strings.Replace(in, "hunter2\r\nmore", "xxxxxx0\r\nxxxx", 1)
	if got := replaced(Text{Parts: true}, in); got != want {
		t.Errorf("%q", got)
	}
	const certificate = "-----BEGIN CERTIFICATE-----\n" + key + "\n-----END CERTIFICATE-----\n"
	if got := replaced(Text{}, certificate); got != certificate {
		t.Errorf("a certificate becomes %q", got)
	}
}

func TestASecretIsFoundHoweverTheTextIsCut(t *testing.T) {
	var texts []string
	for _, secret := range tokens() {
		texts = append(texts,
			`data: {"a":"say \"hi\"","b":"`+secret+`","password":"pass \\ word 1234567890"}`+"\n\ndata: [DONE]\n\n",
			"-----BEGIN PRIVATE KEY-----\n"+secret+"\n-----END PRIVATE KEY-----\nand postgres://u:"+secret[:10]+"@h/ then")
	}
	with := NewStandIns()
	for i, in := range texts {
		want := []byte(in)
		(*Finder)(nil).Replace(Text{}, with, want)
		for seed := range 60 {
			r := rand.New(rand.NewPCG(uint64(i), uint64(seed)))
			s := (*Finder)(nil).Stream(Text{}, with, nil)
			var got []byte
			for rest := in; rest != ""; {
				n := min(len(rest), 1+r.IntN(1+seed))
				got = append(got, s.Write([]byte(rest[:n]))...)
				if rest = rest[n:]; r.IntN(3) == 0 {
					s.Rest()
				}
			}
			if got = append(got, s.Close()...); string(got) != string(want) {
				t.Fatalf("cut by seed %d:\n%s\nwant\n%s", seed, got, want)
			}
		}
	}
}

func TestAStandInIsStableAndKnownAsOne(t *testing.T) {
	with, other := NewStandIns(), NewStandIns()
	for name, secret := range tokens() {
		in := `{"x":"` + secret + `"}`
		once, twice, elsewhere := []byte(in), []byte("say "+in), []byte(in)
		(*Finder)(nil).Replace(Text{}, with, once)
		(*Finder)(nil).Replace(Text{}, with, twice)
		(*Finder)(nil).Replace(Text{}, other, elsewhere)
		if "say "+string(once) != string(twice) {
			t.Errorf("%s: %s and %s", name, once, twice)
		}
		if string(once) == string(elsewhere) {
			t.Errorf("%s: another key gives the same", name)
		}
		for _, f := range (*Finder)(nil).Find(Text{}, once) {
			if !f.IsStandIn(once[f.Start:f.End]) {
				t.Errorf("%s: the stand-in %s is taken for a secret", name, once[f.Start:f.End])
			}
		}
		found := (*Finder)(nil).Find(Text{}, []byte(in))
		if len(found) != 1 || found[0].IsStandIn([]byte(in)[found[0].Start:found[0].End]) {
			t.Errorf("%s: found %+v", name, found)
		}
	}
}

func TestTheClaimsOfAReplacedJWTCanBeRead(t *testing.T) {
	out := replaced(Text{}, fakeJWT(`{"iss":"https://idp.test","sub":"user-1234567890","email":"jane@corp.test","exp":1893456000}`))
	parts := strings.Split(out, ".")
	if len(parts) != 3 {
		t.Fatal(out)
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Iss, Sub, Email string
		Exp             int64
	}
	if err := json.Unmarshal(data, &claims); err != nil || claims.Iss != "https://idp.test" || claims.Exp != 1893456000 {
		t.Errorf("%s, %v", data, err)
	}
	if strings.Contains(string(data), "jane") || claims.Sub == "user-1234567890" {
		t.Errorf("%s", data)
	}
}

func TestPlainTextIsGivenOutAtOnce(t *testing.T) {
	s := (*Finder)(nil).Stream(Text{}, NewStandIns(), nil)
	for _, piece := range []string{"data: {\"a\":\"b\"}\n\n", "some words, and ", "an end. ", "tok", "en", "s without an end", `{"a":"b`, `c\`, `"d`, "https://h.test/p?q=", "1"} {
		if got := s.Write([]byte(piece)); string(got) != piece {
			t.Errorf("of %q came %q", piece, got)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	for what, piece := range map[string]string{
		"a run":        strings.Repeat("a1B2", 4<<10),
		"a value":      `{"password":"` + strings.Repeat("word ", 4<<10),
		"a key":        "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("abcd\n", 4<<10),
		"dashes":       strings.Repeat("-----BEGIN ", 4<<10),
		"backslashes":  strings.Repeat(`\`, 32<<10),
		"half a field": "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n" + strings.Repeat("x ", 32<<10),
	} {
		s := (*Finder)(nil).Stream(Text{Parts: what == "half a field"}, NewStandIns(), nil)
		in, out := 0, 0
		for range 64 {
			in, out = in+len(piece), out+len(s.Write([]byte(piece)))
			if in-out > 3*len(piece) {
				t.Errorf("%s: %d bytes are held", what, in-out)
				break
			}
		}
		if out += len(s.Close()); out != in {
			t.Errorf("%s: %d bytes of %d came", what, out, in)
		}
	}
}

func FuzzACutTextIsReplacedLikeAWholeOne(f *testing.F) {
	for _, secret := range []string{"ghp_" + fake(letters, 36), "AKIA" + fake(upper, 16)} {
		f.Add([]byte(`{"password":"a\\\"b","x":"`+secret+`","n":[1,"`+secret+`"]}`), uint16(3), uint8(0))
	}
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nabc\n-----END"), uint16(2), uint8(1))
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=token\r\n\r\nabcdef123456\r\n--b--"), uint16(5), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, cut uint16, kind uint8) {
		if len(in) > 8<<10 {
			return // what is longer than is held may be found otherwise
		}
		text := []Text{{}, {Form: true}, {Parts: true}, {Binary: true}}[kind%4]
		with := NewStandIns()
		want := append([]byte(nil), in...)
		(*Finder)(nil).Replace(text, with, want)
		s := (*Finder)(nil).Stream(text, with, nil)
		var got []byte
		r := rand.New(rand.NewPCG(uint64(cut), 1))
		for rest := in; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(1+int(cut)))
			got = append(got, s.Write(rest[:n])...)
			if rest = rest[n:]; r.IntN(2) == 0 {
				s.Rest()
			}
		}
		got = append(got, s.Close()...)
		if string(got) != string(want) {
			t.Errorf("%q\nbecomes %q\nwant    %q", in, got, want)
		}
	})
}

func BenchmarkText(b *testing.B) {
	words := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 700)
	event := `data: {"id":"chatcmpl-AbC123","object":"chat.completion.chunk","created":1700000000,"model":"m-4o","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}` + "\n\n"
	for name, text := range map[string]string{"words": words, "events": strings.Repeat(event, 150), "base64": fake(letters, 32<<10)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			s := (*Finder)(nil).Stream(Text{}, NewStandIns(), nil)
			for b.Loop() {
				s.Write([]byte(text))
				s.Rest()
			}
		})
	}
}
