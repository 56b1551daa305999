package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/docs"
)

// A binary is all that many users have: what messages point to is in it.
func TestMessagesPointToPagesThatTheProgramHas(t *testing.T) {
	named := regexp.MustCompile(`wiretape help ([a-z-]+)(?: ([a-z]+-[a-z-]+))?`)
	file := regexp.MustCompile(`\bdocs/[a-z-]+\.md`)
	found := 0
	for _, p := range listPackages(t) {
		if name, ok := roomOf(p.ImportPath); !ok || name == "docs" {
			continue
		}
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					return true
				}
				if m := file.FindString(text); m != "" {
					t.Errorf("%s points to %s, which who has only the program lacks: say wiretape help", path, m)
				}
				for _, m := range named.FindAllStringSubmatch(text, -1) {
					found++
					page := docs.Page(m[1])
					if page == "" && m[1] != schemaTopic && commandOf(newApp(streams{}).Commands, m[1]) == nil {
						t.Errorf("%s: %q: there is no such topic", path, m[0])
					}
					if m[2] != "" && docs.Section(page, m[2]) == "" {
						t.Errorf("%s: %q: there is no such section", path, m[0])
					}
				}
				return true
			})
		}
	}
	if found < 5 {
		t.Errorf("only %d messages point to the documentation: they are not found", found)
	}
}
