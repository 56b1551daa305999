package compose

import "os"

const endPatiently, endAtOnce = "", ""

// A mourner ends what we had started, where our process is killed. There is
// none here.
type mourner struct{}

func newMourner(string) *mourner { return nil }

func (*mourner) watch(*os.Process) {}
func (*mourner) dismiss()          {}
