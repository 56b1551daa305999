package compose

import "testing"

func TestTheDoctorFindsNothingWrongWhereSessionsWork(t *testing.T) {
	b := needEngine(t)
	var checks []string
	err := Doctor(t.Context(), DoctorOptions{
		Agent: b.agent, Version: "test",
		Found: func(f Finding) {
			checks = append(checks, f.Check)
			if !f.OK {
				t.Errorf("%s: %s", f.Check, f.Detail)
			}
		},
	})
	if err != nil {
		t.Error(err)
	}
	if len(checks) == 0 || checks[len(checks)-1] != "kernel" {
		t.Errorf("it looked at %v, and last not at the kernel", checks)
	}
}
