package report

import (
	"encoding/json"
	"io"
)

// Format is the version of report.json.
const Format = 1

// JSON writes the run as one line of JSON; see the package comment.
func JSON(w io.Writer, r *Run) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		Format int    `json:"format"`
		OK     bool   `json:"ok"`
		Counts Counts `json:"counts"`
		*Run
	}{Format, r.OK(), r.Count(), r})
}
