package proxy

import (
	"io"
	"log"
	"testing"

	"github.com/wiretape/wiretape/dev/leaktest"
)

// quiet is for servers whose clients are cut off on purpose.
var quiet = log.New(io.Discard, "", 0)

func TestMain(m *testing.M) { leaktest.Main(m) }
