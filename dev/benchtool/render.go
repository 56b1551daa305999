//go:build linux

package main

import "github.com/wiretape/wiretape/dev/benchtool/results"

// renderPage writes tables and plots of results into a page.
func renderPage(from, page string) error {
	f, err := results.Load(from)
	if err != nil {
		return err
	}
	return f.Render(page)
}
