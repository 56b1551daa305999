//go:build !unix

package replay

import "time"

func processTime() time.Duration { return 0 }
