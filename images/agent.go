// Package images makes the image of wiretape's agent and puts it into an engine:
// nothing but our own static executable, without a registry or a builder.
package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// Repository is the name of the agent's images.
	Repository = "wiretape/agent"
	// Executable is the path of the agent in its image, and the entrypoint.
	Executable = "/wiretape"
	// LabelDigest is on each of the agent's images: the SHA-256 of Executable.
	LabelDigest = "io.github.wiretape.agent.digest"
)

// An Image is an image of the agent that is not made yet.
type Image struct {
	// Ref is wiretape/agent:<version>-<digest>, of which the digest is the
	// first 12 digits of the executable's: a rebuilt program gets its own.
	Ref     string
	binary  *Binary
	version string
}

// AgentImage describes the image of an agent. Equal binaries and versions make
// equal images, to the byte.
func AgentImage(b *Binary, version string) *Image {
	return &Image{
		Ref:     Repository + ":" + tag(version) + "-" + b.Digest[:12],
		binary:  b,
		version: version,
	}
}

// Write writes the image in the format of docker save, for docker load.
func (i *Image) Write(w io.Writer) error {
	img, err := i.build()
	if err != nil {
		return err
	}
	ref, err := name.NewTag(i.Ref, name.WithDefaultRegistry(""))
	if err != nil {
		return err
	}
	return tarball.Write(ref, img, w)
}

func (i *Image) build() (v1.Image, error) {
	// It goes to a local engine, so compression would only take time.
	layer, err := tarball.LayerFromOpener(i.layer,
		tarball.WithCompression(compression.None), tarball.WithMediaType(types.DockerUncompressedLayer))
	if err != nil {
		return nil, fmt.Errorf("reading the agent: %w", err)
	}
	epoch := v1.Time{Time: time.Unix(0, 0).UTC()}
	img, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: epoch, CreatedBy: "wiretape", Comment: "COPY wiretape " + Executable},
	})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", i.binary.Arch, epoch
	config.Config = v1.Config{
		Entrypoint: []string{Executable},
		WorkingDir: "/",
		Labels: map[string]string{
			LabelDigest:                         i.binary.Digest,
			"org.opencontainers.image.title":    "wiretape agent",
			"org.opencontainers.image.version":  i.version,
			"org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.source":   "https://github.com/wiretape/wiretape",
		},
	}
	return mutate.ConfigFile(img, config)
}

// layer returns the tar of the image's only layer, made while it is read.
func (i *Image) layer() (io.ReadCloser, error) {
	var head bytes.Buffer
	err := tar.NewWriter(&head).WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg,
		Name:     strings.TrimPrefix(Executable, "/"),
		Mode:     0o755,
		Size:     i.binary.Size,
		ModTime:  time.Unix(0, 0),
		Format:   tar.FormatUSTAR,
	})
	if err != nil {
		return nil, err
	}
	content, err := i.binary.open()
	if err != nil {
		return nil, err
	}
	// The file is filled up to whole blocks, and two empty blocks end the tar.
	const block = 512
	padding := (block-i.binary.Size%block)%block + 2*block
	return struct {
		io.Reader
		io.Closer
	}{
		io.MultiReader(&head, io.LimitReader(content, i.binary.Size), bytes.NewReader(make([]byte, padding))),
		content,
	}, nil
}

// tag makes a version fit for a reference: [A-Za-z0-9_][A-Za-z0-9_.-]*, of at
// most 128 bytes with the digest behind it.
func tag(version string) string {
	t := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '.', r == '-':
			return r
		default:
			return '_'
		}
	}, version)
	t = strings.TrimLeft(t, ".-")
	if t == "" {
		t = "dev"
	}
	return t[:min(len(t), 100)]
}
