package compare

import "github.com/wiretape/wiretape/httpstream/noise"

// Changes is what of some verdicts may be noise, for noise.Suggest. They should
// have been made with a large MaxDifferences.
func Changes(runs ...*Verdict) []noise.Change {
	var changes []noise.Change
	for _, v := range runs {
		for i := range v.Differences {
			d := &v.Differences[i]
			if d.Kind == Reordered || d.Rule == nil && (d.Kind != Changed || d.Words == nil) {
				continue
			}
			changes = append(changes, noise.Change{Rule: d.Rule, Recorded: d.Recorded, Now: d.Now, Count: 1 + d.Follow})
		}
	}
	return changes
}
