package worker

import (
	"strings"
	"testing"
)

func TestFormatsOfTheStartLineAreRead(t *testing.T) {
	table, err := parseFormats("- { name: acme, match: { has: $.out }, text: '$.out[*].d' }\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := table.Deltas("acme"); len(got) != 1 || got[0] != "$.out[*].d" {
		t.Errorf("deltas of acme are %q", got)
	}
	if table, err := parseFormats(""); err != nil || len(table.Deltas("gemini")) == 0 {
		t.Errorf("without any, those that are built in: %v", err)
	}
	if _, err := parseFormats("- { name: acme }"); err == nil || !strings.HasPrefix(err.Error(), "wiretape.yaml:1: acme: say under match") {
		t.Errorf("a mistake: %v", err)
	}
}
