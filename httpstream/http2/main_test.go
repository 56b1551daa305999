package http2

import (
	"testing"

	"github.com/wiretape/wiretape/httpstream/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
