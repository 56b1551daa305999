//go:build embed_agents

package agents

import (
	"embed"
	"io/fs"
)

//go:embed wiretape-linux-*.gz
var embedded embed.FS

func files() fs.FS { return embedded }
