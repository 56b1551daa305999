package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/httpstream/event"
)

func pluginCommand(io streams) *cli.Command {
	return &cli.Command{
		Name:  "plugin",
		Usage: "wiretape as a plugin of the docker command",
		Subcommands: []*cli.Command{
			{
				Name: "install", Usage: "link this program as docker wiretape",
				Description: `   The link is made in the folder cli-plugins of DOCKER_CONFIG, ~/.docker by
   default. Where links can't be made it is a copy.

   example: wiretape plugin install && docker wiretape compose test`,
				Action: func(c *cli.Context) error {
					if err := exactArgs(c, 0, ""); err != nil {
						return err
					}
					return installPlugin(c.Context, io.out)
				},
			},
			{
				Name: "uninstall", Usage: "take the link away",
				Action: func(c *cli.Context) error {
					if err := exactArgs(c, 0, ""); err != nil {
						return err
					}
					return uninstallPlugin(c.Context, io.out)
				},
			},
		},
	}
}

// pluginPath is where docker looks for the user's plugin.
func pluginPath() (string, error) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", &event.Problem{Kind: event.Environment, Err: err, Next: "set DOCKER_CONFIG to the folder of docker's configuration"}
		}
		dir = filepath.Join(home, ".docker")
	}
	name := pluginFile
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Abs(filepath.Join(dir, "cli-plugins", name))
}

// pluginError is what can't be done in docker's folder.
func pluginError(err error) error {
	return &event.Problem{
		Kind: event.Environment, Err: err,
		Next: "give yourself that folder, or set DOCKER_CONFIG to one that you may write; docker must have the same DOCKER_CONFIG",
	}
}

func installPlugin(ctx context.Context, w io.Writer) error {
	path, err := pluginPath()
	if err != nil {
		return err
	}
	program, err := ownProgram(path)
	if err != nil {
		return err
	}
	if target, err := os.Readlink(path); err == nil && target == program {
		_, err := fmt.Fprintf(w, "docker wiretape is there already: %s is a link to %s\n", path, program)
		return err
	}
	if _, err := os.Lstat(path); err == nil && !isOurPlugin(ctx, path) {
		return usagef("see what it is, and remove it", "%s is there already, and is no wiretape", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return pluginError(err)
	}
	how, err := putPlugin(program, path)
	if err != nil {
		return pluginError(err)
	}
	_, err = fmt.Fprintf(w, "docker wiretape is there now: %s is a %s %s\n", path, how, program)
	return err
}

// ownProgram is this program under a name that lasts: the one that is found by it, rather
// than the file of a version, as package managers have it.
func ownProgram(plugin string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	resolved, err := filepath.EvalSymlinks(exe)
	if err != nil {
		return "", err
	}
	if found, err := exec.LookPath("wiretape"); err == nil {
		if found, err = filepath.Abs(found); err == nil {
			if same, err := filepath.EvalSymlinks(found); err == nil && same == resolved {
				return found, nil
			}
		}
	}
	if exe == plugin {
		return resolved, nil
	}
	return exe, nil
}

// putPlugin puts a link in its place in one step; it says what it made, "link to" or "copy of".
func putPlugin(program, path string) (string, error) {
	temp, err := os.MkdirTemp(filepath.Dir(path), ".wiretape-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	made, how := filepath.Join(temp, filepath.Base(path)), "link to"
	if err := os.Symlink(program, made); err != nil {
		if runtime.GOOS != "windows" {
			return "", err
		}
		// Windows lets only some users make links.
		how = "copy of"
		if err := copyProgram(program, made); err != nil {
			return "", err
		}
	}
	return how, os.Rename(made, path)
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// isOurPlugin tells whether what is there is wiretape: a link that leads nowhere any more,
// or a program that says so of itself, as docker asks each plugin.
func isOurPlugin(ctx context.Context, path string) bool {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, pluginMetadataVerb).Output()
	var m pluginMetadata
	return err == nil && json.Unmarshal(out, &m) == nil && m.Vendor == pluginVendor
}

func uninstallPlugin(ctx context.Context, w io.Writer) error {
	path, err := pluginPath()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			_, err = fmt.Fprintf(w, "docker wiretape is not there: there is no %s\n", path)
			return err
		}
		return pluginError(err)
	}
	if !isOurPlugin(ctx, path) {
		return usagef("remove it by hand if it should go", "%s is no wiretape", path)
	}
	if err := os.Remove(path); err != nil {
		return pluginError(err)
	}
	_, err = fmt.Fprintf(w, "removed %s\n", path)
	return err
}
