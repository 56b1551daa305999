package replay

import "time"

const (
	// spinShare is the part of one processor's time that spinning may take.
	spinShare = 20 // a twentieth
	// spinBurst is how much of it may be saved up.
	spinBurst = 5 * time.Millisecond

	minLead   = 20 * time.Microsecond
	maxLead   = 400 * time.Microsecond
	startLead = 200 * time.Microsecond
	// leadStep is how fast lead is learnt.
	leadStep = 10 * time.Microsecond
	// leadQuantile: one in leadQuantile wake-ups may be later than lead.
	leadQuantile = 40
)

// A spinBudget decides who may be woken early and wait for the deadline in a
// loop. That hides how long it takes to wake a thread and a goroutine, which is
// all but constant for one stream. With many streams somebody is awake most of
// the time anyway, and spinning would take the time from others; so it is
// limited to a share of one processor and to some goroutines at once.
type spinBudget struct {
	// lead is how long before the deadline a waiter is woken: most wake-ups take
	// less than that.
	lead     time.Duration
	free     time.Duration // spinning time left
	since    time.Time     // when free was brought up to date
	spinners int           // that may spin now
}

func newSpinBudget(spinners int, now time.Time) spinBudget {
	return spinBudget{lead: startLead, free: spinBurst, since: now, spinners: spinners}
}

// allowed reports whether a waiter may be woken early.
func (b *spinBudget) allowed(now time.Time) bool {
	b.free = min(b.free+now.Sub(b.since)/spinShare, spinBurst)
	b.since = now
	return b.spinners > 0 && b.free >= b.lead
}

// take lets one waiter spin, who must giveBack.
func (b *spinBudget) take(now time.Time) bool {
	if !b.allowed(now) {
		return false
	}
	b.spinners--
	return true
}

func (b *spinBudget) giveBack(spun time.Duration) {
	b.spinners++
	b.free -= spun
}

// learn moves lead towards the time in which all but one in leadQuantile
// wake-ups happen. late is whether the deadline was missed.
func (b *spinBudget) learn(late bool) {
	if late {
		b.lead = min(b.lead+leadStep, maxLead)
	} else {
		b.lead = max(b.lead-leadStep/leadQuantile, minLead)
	}
}
