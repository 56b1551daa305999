package tape

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// An Upgraded says what Upgrade did.
type Upgraded struct {
	From    int // the version that the tape had
	Streams int // how many streams were written anew
}

// Upgrade writes the tape at dir in the newest format. It is done on a copy beside dir
// that then takes its place, so that the tape is as it was where anything fails. What
// means the same in both formats stays byte for byte. Of a tape that has the newest
// format already, nothing is touched.
func Upgrade(dir string) (Upgraded, error) {
	t, err := Open(dir)
	if err != nil {
		return Upgraded{}, err
	}
	done := Upgraded{From: t.Manifest.Version}
	if done.From == Version {
		return done, nil
	}
	skip := make(map[string]bool)
	var sockets []*Exchange
	for _, x := range append(t.Calls[:len(t.Calls):len(t.Calls)], t.Cases...) {
		if x.Stream != "" && x.IsWebSocket() {
			sockets = append(sockets, x)
			for _, name := range filesOf(x) {
				skip[name] = true
			}
		}
	}
	done.Streams = len(sockets)
	return done, changeCopy(dir, skip, func(copied string) error {
		for _, x := range sockets {
			if err := t.upgradeSocket(x, copied); err != nil {
				return err
			}
		}
		m := t.Manifest
		m.Version = Version
		return rewriteManifest(copied, &m)
	})
}

// upgradeSocket writes a WebSocket into a copy of the tape.
func (t *Tape) upgradeSocket(x *Exchange, copied string) error {
	again := *x
	sum := sha256.New()
	again.Request.Body.Size = 0
	err := t.upgradeStream(x, filepath.Join(copied, filepath.FromSlash(x.Stream)), func(client []byte) {
		again.Request.Body.Size += int64(len(client))
		sum.Write(client)
	})
	if err != nil {
		return err
	}
	if again.Request.Body.InStream {
		again.Request.Body.SHA256 = hex.EncodeToString(sum.Sum(nil))
	}
	data, err := encodeExchange(&again)
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(copied, filesOf(x)[0]), bytes.NewReader(data))
}

// upgradeStream writes the stream of a WebSocket, which format 1 has as bytes, with a
// line for each frame. One that was cut off stays without an end. It tells client what
// the client's lines have.
func (t *Tape) upgradeStream(x *Exchange, name string, client func([]byte)) (err error) {
	in, err := t.Stream(x)
	if err != nil {
		return err
	}
	defer in.Close()
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(file, 64<<10)
	defer func() { err = errors.Join(err, out.Flush(), file.Sync(), file.Close()) }()
	var line []byte
	write := func(l *Line) error {
		if l.FromClient {
			client(l.Data)
		}
		line = append(AppendLine(line[:0], l), '\n')
		_, err := out.Write(line)
		return err
	}
	both := ConversationOf(x)
	for l, err := range in.Lines() {
		switch {
		case errors.Is(err, ErrTruncated):
			return both.Close(write)
		case err != nil:
			return err
		case l.End != nil:
			return errors.Join(both.Close(write), write(&l))
		}
		if err := both.Add(&l, write); err != nil {
			return err
		}
	}
	return nil
}

// Writable returns an error with the next step if the tape has a format that this
// wiretape reads, and does not write.
func (t *Tape) Writable() error { return t.Manifest.writable(t.Dir) }

func (m *Manifest) writable(dir string) error {
	if m.Version == Version {
		return nil
	}
	return &FormatError{
		File: filepath.Join(dir, manifestName),
		Msg:  fmt.Sprintf("tape %s is format %d: only format %d is written", dir, m.Version, Version),
		Hint: "first run: wiretape tape upgrade " + quoteArg(dir),
	}
}

// quoteArg quotes an argument for a shell, if it needs that.
func quoteArg(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
