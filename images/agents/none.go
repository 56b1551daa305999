//go:build !embed_agents

package agents

import (
	"embed"
	"io/fs"
)

func files() fs.FS { return embed.FS{} }
