# wiretape as an image: the CLI, and at the same time the agent that it starts.
# The CLI makes its agent's image by itself, so this one is only for those who
# want to run wiretape from a container that can reach an engine:
#
#   docker build --build-arg VERSION="$(git describe --tags --always)" -t wiretape .
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /wiretape ./cmd/wiretape

FROM scratch
COPY --from=build /wiretape /wiretape
ENTRYPOINT ["/wiretape"]
