package protocol

import "testing"

func TestEachRowCanDoAllThatARowMust(t *testing.T) {
	names, ids := map[string]bool{}, map[string]bool{}
	for _, p := range All() {
		if p.Name == "" || names[p.Name] || p.ALPN == "" || ids[p.ALPN] {
			t.Errorf("%q with the ID %q is no row of its own", p.Name, p.ALPN)
		}
		names[p.Name], ids[p.ALPN] = true, true
		if p.Speaks == nil || p.Begins == nil || p.Relay == nil || p.Serve == nil || p.Send == nil {
			t.Errorf("%s lacks a part", p.Name)
		}
		if ByALPN(p.ALPN) != p {
			t.Errorf("%s is not found by its ID", p.Name)
		}
	}
	if Forwarder() == nil {
		t.Error("no request can be passed on")
	}
}

func TestProtocolsAreFoundByWhatTheyAreCalled(t *testing.T) {
	for proto, want := range map[string]string{"HTTP/1.0": "HTTP/1.1", "HTTP/1.1": "HTTP/1.1", "HTTP/2.0": "HTTP/2"} {
		if p := Of(proto); p == nil || p.Name != want {
			t.Errorf("%s is of %+v", proto, p)
		}
	}
	for _, proto := range []string{"", "HTTP/3.0", "HTTP/1"} {
		if p := Of(proto); p != nil {
			t.Errorf("%q is of %s", proto, p.Name)
		}
	}
	if p := ByALPN("acme-tls/1"); p != nil {
		t.Error(p.Name)
	}
}
