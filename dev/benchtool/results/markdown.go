package results

import "errors"

// Render writes tables between the markers of a page, and plots beside it.
func (f *File) Render(page string) error { return errors.New("later") }
