package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// An Engine is the part of the Docker client that puts images into an engine.
type Engine interface {
	ImageInspect(ctx context.Context, ref string, opts ...client.ImageInspectOption) (image.InspectResponse, error)
	ImageLoad(ctx context.Context, tar io.Reader, opts ...client.ImageLoadOption) (image.LoadResponse, error)
	ImageRemove(ctx context.Context, id string, options image.RemoveOptions) ([]image.DeleteResponse, error)
}

// Ensure loads the image into the engine if it is not there yet, and reports
// whether it had to.
func Ensure(ctx context.Context, engine Engine, img *Image) (loaded bool, err error) {
	present, err := img.present(ctx, engine)
	if err != nil || present {
		return false, err
	}
	if err := img.load(ctx, engine); err != nil {
		err = fmt.Errorf("loading the agent's image %s into the engine: %w", img.Ref, err)
		if errors.As(err, new(*unpackError)) {
			_, rerr := engine.ImageRemove(context.WithoutCancel(ctx), img.Ref, image.RemoveOptions{Force: true, PruneChildren: true})
			if rerr != nil && !errdefs.IsNotFound(rerr) {
				err = fmt.Errorf("%w; what is there of it can't be used, and can't be removed (docker image rm --force %s): %w", err, img.Ref, rerr)
			}
		}
		return false, err
	}
	present, err = img.present(ctx, engine)
	if err == nil && !present {
		err = fmt.Errorf("the engine took the agent's image %s, but doesn't have it", img.Ref)
	}
	return err == nil, err
}

// present reports whether the engine's image of that name has our executable.
func (i *Image) present(ctx context.Context, engine Engine) (bool, error) {
	got, err := engine.ImageInspect(ctx, i.Ref)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for the agent's image %s: %w", i.Ref, err)
	}
	return got.Config != nil && got.Config.Labels[LabelDigest] == i.binary.Digest &&
		NormalizeArch(got.Architecture) == i.binary.Arch, nil
}

func (i *Image) load(ctx context.Context, engine Engine) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := i.Write(w)
		w.CloseWithError(err)
		written <- err
	}()
	resp, err := engine.ImageLoad(ctx, r)
	if err == nil {
		err = loadError(resp)
	}
	// An engine that refuses may do so before it has read everything.
	r.CloseWithError(errStopped)
	if werr := <-written; werr != nil && !errors.Is(werr, errStopped) {
		return werr
	}
	return err
}

var errStopped = errors.New("the engine stopped reading")

// loadError reads the engine's account of a load to its end, and returns the
// failure in it: the status is 200 all the same.
func loadError(resp image.LoadResponse) error {
	defer resp.Body.Close()
	// Enough to tell what happened, however much an engine has to say.
	const limit = 1 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return fmt.Errorf("reading the engine's answer: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		var m struct {
			Stream      string `json:"stream"`
			Error       string `json:"error"`
			ErrorDetail struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		// An answer in plain text is a success; Ensure looks whether it is.
		if err := dec.Decode(&m); err != nil {
			return nil
		}
		if text := m.ErrorDetail.Message; text != "" {
			return errors.New(strings.TrimSpace(text))
		}
		if m.Error != "" {
			return errors.New(strings.TrimSpace(m.Error))
		}
		if text := strings.TrimSpace(m.Stream); strings.HasPrefix(text, "Error unpacking image") {
			return &unpackError{text}
		}
	}
}

// An unpackError is how an engine with containerd's image store tells, in a load that
// it calls a success, that it keeps the image though no container can be made of it.
type unpackError struct{ text string }

func (e *unpackError) Error() string { return e.text }

// A Pruner is the part of the Docker client that removes images.
type Pruner interface {
	ImageList(ctx context.Context, options image.ListOptions) ([]image.Summary, error)
	ImageRemove(ctx context.Context, id string, options image.RemoveOptions) ([]image.DeleteResponse, error)
}

// Prune removes the agent's images but for those whose references are to be
// kept, and returns the references removed. Images that a container uses stay.
func Prune(ctx context.Context, engine Pruner, keep func(ref string) bool) (removed []string, err error) {
	list, err := engine.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", LabelDigest))})
	if err != nil {
		return nil, fmt.Errorf("listing the agent's images: %w", err)
	}
	for _, img := range list {
		for _, ref := range img.RepoTags {
			if !strings.HasPrefix(ref, Repository+":") || keep(ref) {
				continue
			}
			_, err := engine.ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
			switch {
			case err == nil:
				removed = append(removed, ref)
			case !errdefs.IsConflict(err) && !errdefs.IsNotFound(err):
				return removed, fmt.Errorf("removing the agent's image %s: %w", ref, err)
			}
		}
	}
	return removed, nil
}
