package httpstream

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestOrderWaitsForWhatWasReadBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o h1Order
		o.begin(h1FromClient)
		o.begin(h1FromServer)
		start := time.Now()
		o.wait(h1FromClient) // not for the later read
		if waited := time.Since(start); waited != 0 {
			t.Errorf("the earlier read waited %s", waited)
		}
		go func() {
			time.Sleep(time.Millisecond)
			o.end(h1FromClient)
		}()
		o.wait(h1FromServer)
		if waited := time.Since(start); waited != time.Millisecond {
			t.Errorf("the later read waited %s", waited)
		}
	})
}

func TestOrderDoesNotWaitForADirectionThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o h1Order
		o.begin(h1FromClient)
		start := time.Now()
		for range 10 {
			o.begin(h1FromServer)
			o.wait(h1FromServer)
			o.end(h1FromServer)
		}
		if waited := time.Since(start); waited != h1OrderPatience {
			t.Errorf("waited %s in all", waited)
		}
	})
}
