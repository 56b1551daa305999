package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	mitmtls "github.com/wiretape/wiretape/tls"
)

func caCommand(io streams) *cli.Command {
	return &cli.Command{
		Name:  "ca",
		Usage: "wiretape's own certificate authority",
		Subcommands: []*cli.Command{
			{
				Name:  "path",
				Usage: "print the folder of the root certificate and its key",
				Description: `   The folder has mkcert's layout: rootCA.pem and rootCA-key.pem. Set CAROOT to
   use another one, such as an existing root of mkcert's.`,
				Action: func(c *cli.Context) error {
					if err := exactArgs(c, 0, ""); err != nil {
						return err
					}
					dir, err := mitmtls.DefaultDir(os.Getenv)
					if err != nil {
						return err
					}
					fmt.Fprintln(io.out, dir)
					return nil
				},
			},
			{
				Name:        "export",
				Usage:       "print the root certificate; it is made if there is none",
				Description: "   example: wiretape ca export > wiretape-ca.pem",
				Action: func(c *cli.Context) error {
					if err := exactArgs(c, 0, ""); err != nil {
						return err
					}
					root, err := mitmtls.LoadOrCreateRoot("")
					if err != nil {
						return err
					}
					_, err = io.out.Write(root.AnchorPEM())
					return err
				},
			},
		},
	}
}
