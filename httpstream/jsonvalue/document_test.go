package jsonvalue

import (
	"encoding/json"
	"errors"
	"math/big"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

func TestNumbersAreEqualExactlyIfTheirDecimalValuesAre(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	number := func() string {
		s := []string{"", "-"}[rnd.IntN(2)] + []string{"0", "1", "10", "100", "9007199254740993", "12"}[rnd.IntN(6)]
		s += []string{"", ".0", ".10", ".001", ".000"}[rnd.IntN(5)]
		return s + []string{"", "e0", "E+2", "e-2", "e1", "e-03"}[rnd.IntN(6)]
	}
	for range 20000 {
		a, b := number(), number()
		ra, _ := new(big.Rat).SetString(a)
		rb, _ := new(big.Rat).SetString(b)
		if got := CanonicalNumber(a) == CanonicalNumber(b); got != (ra.Cmp(rb) == 0) {
			t.Fatalf("%s and %s: equal = %t", a, b, got)
		}
	}
	if CanonicalNumber("1e99999999999999999999") == CanonicalNumber("1e99999999999999999998") {
		t.Error("huge exponents")
	}
	if CanonicalNumber("10e99999999999999999998") != CanonicalNumber("1e99999999999999999999") {
		t.Error("huge exponents that are equal")
	}
}

func TestJSONThatIsDeeperThanAllowedIsRefused(t *testing.T) {
	if _, err := Parse([]byte(strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth))); err != nil {
		t.Error(err)
	}
	if _, err := Parse([]byte(strings.Repeat("[", 1e6))); err == nil {
		t.Error("accepted")
	}
}

// FuzzJSON checks the decoder against encoding/json, which agrees on what is
// valid and, where there is nothing that it loses, on the value.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0.5e+3,"\u00e9\ud83d\ude00",true,null],"a":{}}`, ` [ ] `, `"\ud800x"`, `01`, `-`, `{"a" :1,}`, `"a`, "\"\x01\"", "[\"\xff\"]", `1e`, `nul`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		doc, err := Parse(in)
		if valid := json.Valid(in); valid != (err == nil) && !errors.Is(err, errDepth) && !strings.Contains(string(in), strings.Repeat("[", 200)) {
			t.Fatalf("%q: valid = %t, but %v", in, valid, err)
		}
		if err != nil {
			return
		}
		if len(doc.Repeats) == 0 && !strings.Contains(strings.ToLower(string(in)), `\ud`) && strings.ToValidUTF8(string(in), "") == string(in) {
			d := json.NewDecoder(strings.NewReader(string(in)))
			d.UseNumber()
			var want any
			if err := d.Decode(&want); err == nil && !reflect.DeepEqual(doc.Value, want) {
				t.Fatalf("%q: %v, want %v", in, doc.Value, want)
			}
		}
	})
}

// FuzzNumber checks that the canonical form of a number stands for that number.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0", "-0", "9007199254740993", "-1.500e-3", "0.000", "1E+99999999999", "10e-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, n string) {
		s := Scanner{In: []byte(n)}
		if _, err := s.Number(); err != nil || s.Pos < len(n) || strings.TrimSpace(n) != n {
			return
		}
		_, power, _ := strings.Cut(strings.ToLower(n), "e")
		if len(strings.TrimLeft(power, "+-0")) > 3 {
			return // too large for math/big to write out
		}
		want, ok1 := new(big.Rat).SetString(n)
		got, ok2 := new(big.Rat).SetString(CanonicalNumber(n))
		if !ok1 || !ok2 || want.Cmp(got) != 0 {
			t.Fatalf("%s became %s", n, CanonicalNumber(n))
		}
	})
}

// FuzzExact checks that what means the same to every reader is what encoding/json
// reads, and that writing it anew keeps its canonical form.
func FuzzExact(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2.50,-0,1e400,"x\u00e9\ud83d\ude00"],"b":{"":null}}`, `9007199254740993`, `[true,false,null]`,
		`{"a":1,"a":1}`, `"\ud800"`, `"\\ud800"`, `[[[[]]]]`, "\"\xff\"", `{} x`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := ParseExact(in)
		if err != nil {
			return
		}
		d := json.NewDecoder(strings.NewReader(string(in)))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(v, want) {
			t.Fatalf("%q: %v, want %v, %v", in, v, want, err)
		}
		again, err := json.MarshalIndent(v, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		w, err := ParseExact(again)
		if err != nil || string(AppendCanonical(nil, v)) != string(AppendCanonical(nil, w)) {
			t.Fatalf("%q written anew as %q: %v", in, again, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := []byte(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"choices":[{"index":0,"delta":{"content":" word"}}]}`)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}
