package worker

import (
	"testing"

	"github.com/wiretape/wiretape/dev/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
