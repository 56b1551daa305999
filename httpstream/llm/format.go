// Package llm knows where the APIs of language models have what a model says: a
// table of formats, to which users add those of their own, and what puts the
// deltas of a stream together.
package llm

// A Format is a row of the table: where the events of an API have texts, tool calls
// and usage. All paths are JSONPaths (RFC 9535).
type Format struct {
	Name string
	// Path is a pattern (path.Match) for the paths of requests; empty for any.
	Path string
	// Is tells an event of this format: one of them has to hold. Without any, each
	// event of an answer to Path is one.
	Is []When
	// Parts are what an event may have, in the order in which it is said.
	Parts []Part
	// Usage is where the tokens are counted.
	Usage []string
}

// A When holds if all of its conditions do.
type When []Cond

// A Cond is a condition on what a path selects.
type Cond struct {
	Path string
	// In are the values that it may have; nil for any but an empty text. A text that
	// ends with * stands for all that begin so.
	In  []any
	Not bool // the opposite
}

// A Kind is what a piece of an answer is.
type Kind string

const (
	Text      Kind = "text"
	Reasoning Kind = "reasoning"
	Refusal   Kind = "refusal"
	Tool      Kind = "tool"
	Finish    Kind = "finish"
)

// A Part is where a piece of an answer is, or what has such parts inside.
type Part struct {
	When When // of the value that the part is in
	// Each selects the values that the rest counts from; without it, it is that one.
	Each []string
	// Of is what the values are called where there are several: "choice 2".
	Of string
	// Number is where a value has its number, from 0: the first that is there, else
	// its place in Each.
	Number []string
	Parts  []Part

	Name string // of the piece; empty if there is none at this level
	Kind Kind
	// Text is where the text is, or a delta of it: all that are there are joined.
	Text []string
	// Function is where the name of a tool call's function is, and Value its arguments
	// as JSON; a text there counts only where Text is not set.
	Function, Value string
	Counting        Counting
	// Optional is set for a tool call that is there only with a name or arguments.
	Optional bool
	// EmptyIsNone is set where an object without members says that deltas follow.
	EmptyIsNone bool
}

// Counting is how a piece gets a number of its own.
type Counting int

const (
	Single  Counting = iota // there is but one
	ByIndex                 // by Number
	Next                    // each is a further one
)
