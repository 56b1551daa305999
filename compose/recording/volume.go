package recording

import (
	"regexp"
	"strings"

	"github.com/wiretape/wiretape/httpstream/event"
)

const (
	volumePrefix  = "volume:"
	defaultFolder = "tape"
)

// A Volume is where a volume of the engine has a tape.
type Volume struct {
	Name   string
	Folder string // in the volume
}

// validName is what an engine takes as a volume's name, and fit for a folder.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// ParseVolume reads "volume:NAME" or "volume:NAME/FOLDER"; is tells whether it is
// meant to be one, and not a folder of this host.
func ParseVolume(s string) (v Volume, is bool, err error) {
	rest, is := strings.CutPrefix(s, volumePrefix)
	if !is {
		return v, false, nil
	}
	name, folder, given := strings.Cut(rest, "/")
	if !given {
		folder = defaultFolder
	}
	if !validName.MatchString(name) || len(name) < 2 {
		return v, true, event.Problemf(event.Usage, "it has two or more letters, digits, '_', '.' and '-', as in volume:tapes; for a folder of that name, write ./"+s,
			"%q is no name of a volume", name)
	}
	if !validName.MatchString(folder) {
		return v, true, event.Problemf(event.Usage, "it has letters, digits, '_', '.' and '-', as in volume:"+name+"/chat",
			"%q is no name of a folder in a volume", folder)
	}
	return Volume{name, folder}, true, nil
}

// String is what ParseVolume reads.
func (v Volume) String() string {
	if v.Folder == defaultFolder {
		return volumePrefix + v.Name
	}
	return volumePrefix + v.Name + "/" + v.Folder
}
